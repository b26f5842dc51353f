"""minipeft train: train one method on a text, or on examples with labels."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, fields
from functools import reduce
from itertools import starmap
from operator import or_
from pathlib import Path
from typing import Annotated, Literal
from zlib import crc32

import numpy as np
from tyro.conf import arg, subcommand

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..autograd.nn import size
from ..data.batches import passages
from ..data.files import read_prose
from ..data.words import count
from ..hf.pretrained import ADAPTATION_FILES
from ..methods import METHODS, Probe
from ..methods.template import Layout
from ..model.encoder_decoder import EncoderDecoder
from ..storage.folders import replace_folder
from ..training.checkpoint import FILE, has_steps
from ..training.optim import AdamW, schedule
from ..training.trainer import NonFinite, Trainer
from . import evaluation
from .classifiers import classify_task, read_splits, write_labels
from .common import (
    BlockSize,
    Command,
    Config,
    Dev,
    File,
    Folder,
    Json,
    LabelColumn,
    Model,
    Pool,
    Test,
    TextColumn,
    check_at_least,
    check_lr,
    cluster_at,
    optional,
    print_line,
    print_note,
    progress,
)
from .first_step import check_first_batch
from .text_to_text import text_task
from .work import empty, keep_settings, resumable_part

MOST = 320  # passages of the held-out tenth of a text that are evaluated
OF_STEPS = (  # flags without a meaning for a linear probe, which is solved
    *("steps", "batch_size", "lr", "lr_scheduler", "warmup_steps", "micro_batches"),
    *("cluster", "save_steps", "patience", "resume"),
)


def method_choice(name, method):
    """Return a method as a subcommand; its help is the equation in its docstring."""
    equation = re.sub(r"\s{2,}", "   ", method.__doc__.split("\n")[0])
    return Annotated[method, subcommand(name, prefix_name=False, description=equation)]


Method = Annotated[reduce(or_, starmap(method_choice, METHODS.items())), arg(name="")]


@dataclass
class Job:
    """A training: the adaptation, its model and batches, and how it is evaluated."""

    model: object
    adaptation: Adaptation
    batches: Iterator
    evaluate: Callable  # split -> {"loss": …} or {"accuracy": …} of the adaptation
    baseline: Callable  # split -> what the report has to compare this with
    splits: list  # "dev", what is held out, and "test", if there is such a file
    facts: dict  # what else is reported
    classes: list | None = None  # names
    solve: Callable | None = None  # solves a probe and returns its λ; None: it must be trained

    def cost(self):
        """Return a number that is lower the better the adaptation is."""
        scores = self.evaluate("dev")
        return scores["loss"] if "loss" in scores else -scores["accuracy"]

    def report(self):
        """Return the scores on all splits, and what to compare them with."""
        report = dict(self.facts)
        for split in self.splits:
            prefix = "test_" if split == "test" else ""
            scores = self.baseline(split) | self.evaluate(split)
            report |= {f"{prefix}{name}": value for name, value in scores.items()}
        return report


@dataclass
class Train(Command):
    """Train one method on a frozen model: minipeft train lora --data FILE --out FOLDER"""

    method: Method
    """The fields of a method are flags, too: `minipeft train lora --help`."""
    data: File
    """A text (.txt, .md), or examples with labels (.jsonl, .json, .csv, .tsv)."""
    out: Folder
    """Folder for the adaptation, metrics.jsonl and, for examples, labels.json.  A linear probe is
    solved: it has no steps, and no metrics.jsonl."""
    dev: Dev = None
    test: Test = None
    model: Model = None
    text_column: TextColumn = ("text",)
    label_column: LabelColumn = "label"
    pool: Pool = None
    steps: int = 300
    """Steps of the optimizer, AdamW."""
    batch_size: int = 16
    """Passages or examples in each step."""
    block_size: BlockSize = 64
    lr: optional(float, "FLOAT") = None
    """Largest learning rate. (default: one that suits the method)"""
    lr_scheduler: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate changes after the warmup."""
    warmup_steps: int = 20
    """Steps in which the learning rate rises from 0."""
    seed: int = 0
    """Seed of the initial parameters, the batches and dropout."""
    micro_batches: int = 1
    """Gradient accumulation: split each batch into at least this many parts, to save memory."""
    cluster: optional(str, "ADDRESS") = None
    """Dask scheduler, tcp://HOST:PORT: its workers take the micro-batches. (default: threads)"""
    save_steps: int = 100
    """Steps between two checkpoints and, with --patience, between two evaluations."""
    patience: optional(int, "INT") = None
    """Stop after this many evaluations without improvement, and keep the best parameters."""
    resume: bool = False
    """Continue a training that was stopped, from its last checkpoint in FOLDER.part."""
    config: Config = None
    json: Json = False

    renamed = {
        "batch": "batch-size",
        "passage": "block-size",
        "rate": "lr",
        "schedule": "lr-scheduler",
        "warmup": "warmup-steps",
        "slices": "micro-batches",
        "every": "save-steps",
    }

    def run(self):
        self.check_flags()
        with resumable_part(self.out, self.resume, FILE, has_steps) as part:
            report = self.train(part)
        self.output(report)

    def train(self, part: Path) -> dict:
        """Train in the folder `part`, write --out, and return the report."""
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        has_labels = evaluation.all_hold_examples(self.data, self.dev, self.test)
        kind = self.on_pairs if isinstance(model, EncoderDecoder) else self.on_examples
        job = (kind if has_labels else self.on_text)(
            model, tokenizer, np.random.default_rng(self.seed)
        )
        start = time.monotonic()
        if job.solve:
            job.facts["l2"] = job.solve()
        else:
            with cluster_at(self.cluster) as executor:
                self.fit(job, part, executor)
        with replace_folder(self.out, ADAPTATION_FILES[0]) as new:
            hf.save(job.adaptation, new)
            if not job.solve:
                shutil.copy(part / "metrics.jsonl", new)
            if job.classes:
                write_labels(new, job.classes)
        empty(part)
        trained = size(job.adaptation)
        report = {"method": repr(self.method), "trained_params": trained}
        report |= {"trained_share": trained / size(model), "seconds": time.monotonic() - start}
        return report | {"out": str(self.out)} | job.report()

    def check_flags(self):
        """Raise ValueError for a flag out of its range."""
        check_at_least(1, steps=self.steps, batch_size=self.batch_size)
        check_at_least(1, micro_batches=self.micro_batches, save_steps=self.save_steps)
        check_at_least(1, patience=1 if self.patience is None else self.patience)
        check_at_least(2, block_size=self.block_size)
        check_at_least(0, warmup_steps=self.warmup_steps, seed=self.seed)
        if self.lr is not None:
            check_lr(self.lr)
        default = {f.name: f.default for f in fields(self)}
        given = [name for name in OF_STEPS if getattr(self, name) != default[name]]
        is_linear = isinstance(self.method, Probe) and self.method.hidden is None
        if given and is_linear and self.pool != "attention":
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ValueError(f"a linear probe is solved, without steps: leave out {flags}")

    def fit(self, job: Job, part: Path, executor: Executor | None):
        """Train, with checkpoints and metrics.jsonl in the folder `part`."""
        lr = self.method.lr if self.lr is None else self.lr
        trainer = Trainer(
            job.model,
            job.adaptation,
            AdamW(job.adaptation.parameters(), lr),
            schedule=schedule(self.lr_scheduler, self.steps, self.warmup_steps),
            seed=self.seed,
            micro_batches=self.micro_batches,
            executor=executor,
        )
        keep_settings(part, self.settings(lr))
        if (part / FILE).exists():
            trainer.resume(part)
        if not trainer.t:
            first = job.model, job.adaptation, job.batches, self.micro_batches
            job.batches = check_first_batch(*first)
            if self.steps < self.warmup_steps:
                share = trainer.schedule(self.steps - 1)
                print_note(
                    f"{count(self.steps, 'step')} of the {self.warmup_steps} of the warmup: the "
                    f"learning rate only rises, to {share:.0%} of {lr:g}"
                )
        every = min(self.save_steps, self.steps)
        options = {"log": part / "metrics.jsonl", "folder": part, "save_every": every}
        if self.patience:
            options |= {"evaluate": job.cost, "every": every, "patience": self.patience}
        try:
            with progress("training", self.steps) as bar:
                trainer.fit(job.batches, self.steps, progress=bar.show, **options)
        except NonFinite:
            empty(part)
            raise

    def settings(self, lr: float) -> dict:
        """Return, by flag, what must be equal to resume; `Trainer` checks model and method."""
        files = {"data": self.data, "dev": self.dev}
        names = "text_column", "label_column", "steps", "batch_size", "block_size", "lr_scheduler"
        names += "warmup_steps", "seed", "micro_batches", "patience", "pool"
        names += ("save_steps",) if self.patience else ()  # then it says when to evaluate
        settings = {name: getattr(self, name) for name in names} | {"lr": lr}
        checked = lambda path: path and f"{path.name}, checksum {crc32(path.read_bytes()):08x}"
        return settings | {name: checked(path) for name, path in files.items()}

    def on_text(self, model, tokenizer, rng):
        """Return the training of a language model on a text, whose last tenth is held out."""
        if self.pool:
            raise ValueError(f"--pool is for examples with labels, and {self.data} is a text")
        if isinstance(self.method, Probe):
            raise ValueError(
                f"probe trains the head of a classifier, and {self.data} has no labels: use "
                "examples, such as .jsonl or .csv"
            )
        adaptation = self.method.attach(evaluation.check_decoder(model), rng)
        layout = Layout(adaptation.template, tokenizer, model)
        if layout.back:
            raise ValueError(
                f"template={adaptation.template!r}: to train on a text, {{x}} must come last"
            )
        what = f"--block-size {self.block_size}"
        evaluation.check_length(model, adaptation, layout, self.block_size, what)
        train, dev, test = self.read_passages(tokenizer)
        sets = {"dev": dev} | ({} if test is None else {"test": test})
        samples = passages(train, self.batch_size, self.block_size, rng)
        batches = (layout.language(ids) for ids, *_ in samples)
        plain = Layout(PLAIN.template, tokenizer, model)
        base_loss = lambda s: evaluation.mean_loss(model, PLAIN, plain, sets[s])
        baseline = lambda s: {"base_loss": evaluation.check_base_loss(base_loss(s), model)}
        evaluate = lambda s: {"loss": evaluation.mean_loss(model, adaptation, layout, sets[s])}
        return Job(model, adaptation, batches, evaluate, baseline, [*sets], {})

    def read_passages(self, tokenizer):
        """Return the ids of the text, and passages to evaluate on: of dev, and of test or None."""
        columns = *self.text_column, self.label_column
        encode = lambda path: tokenizer.encode(read_prose(path, columns)).ids
        split = lambda ids, source: evaluation.split_passages(ids, self.block_size, source)
        ids = encode(self.data)
        test = split(encode(self.test), self.test) if self.test else None
        if self.dev:
            return ids, split(encode(self.dev), self.dev), test
        cut = int(0.9 * len(ids))
        return ids[:cut], split(ids[cut:], f"{self.data}, its last tenth")[:MOST], test

    def on_examples(self, model, tokenizer, rng):
        """Return the training of a classifier on examples."""
        files = {"train": self.data, "dev": self.dev, "test": self.test}
        columns = self.text_column, self.label_column
        splits = read_splits(files, columns, rng, {"dev": 0.1})
        task = classify_task(str(self.data), splits, model, tokenizer, self.pool)
        adaptation = task.attach(self.method, rng)
        network, batches = task.model_and_batches(adaptation, self.batch_size, rng)
        baseline = lambda split: {"majority_accuracy": task.majority(split)["accuracy"]}
        evaluate = lambda split: task.evaluate(adaptation, split)
        facts = {"truncated": task.truncated(adaptation), "pool": task.pool}
        job = Job(network, adaptation, batches, evaluate, baseline, ["dev", *task.tests], facts)
        job.classes = task.classes
        if task.is_solved(self.method):
            job.solve = lambda: task.solve(adaptation)
        return job

    def on_pairs(self, model, tokenizer, rng):
        """Return the training of an encoder–decoder to write one text for another."""
        if self.pool or isinstance(self.method, Probe):
            raise ValueError(
                f"{'--pool is' if self.pool else 'a probe is'} for a head, and an encoder-decoder "
                "writes the labels: leave it out, or use a decoder or an encoder"
            )
        files = {"train": self.data, "dev": self.dev, "test": self.test}
        columns = self.text_column, self.label_column
        task = text_task(str(self.data), files, columns, model, tokenizer, rng, dev=0.1)
        adaptation = task.attach(self.method, rng)
        network, batches = task.model_and_batches(adaptation, self.batch_size, rng)
        baseline = lambda split: {"base_loss": task.loss(PLAIN, split)}
        evaluate = lambda split: {"loss": task.loss(adaptation, split)}
        facts = {"truncated": task.truncated(adaptation)}
        return Job(network, adaptation, batches, evaluate, baseline, ["dev", *task.tests], facts)

    def show(self, report):
        trained, share = report["trained_params"], 100 * report["trained_share"]
        print_line(
            f"{report['method']}: {count(trained, 'trained parameter')} "
            f"({share:.2f} % of the model), {report['seconds']:.0f} s"
        )
        for name, prefix in {"held-out": "", "test": "test_"}.items():
            if f"{prefix}loss" in report:
                before, after = report[f"{prefix}base_loss"], report[f"{prefix}loss"]
                print_line(f"{name} loss: {after:.3f}; of the base model: {before:.3f}")
            if f"{prefix}accuracy" in report:
                accuracy = 100 * report[f"{prefix}accuracy"]
                majority = 100 * report[f"{prefix}majority_accuracy"]
                print_line(f"{name} accuracy: {accuracy:.1f} %; majority class: {majority:.1f} %")
        if "pool" in report:
            λ = f", λ = {report['l2']:.3g}" if "l2" in report else ""
            print_line(f"pool: {report['pool']}{λ}")
        if report.get("truncated"):
            print_line(f"truncated to what fits the model: {count(report['truncated'], 'text')}")
        print_line(f"saved in {report['out']}")
