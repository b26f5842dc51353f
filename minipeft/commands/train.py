"""minipeft train: train one method on a text, or on examples with labels."""

import json
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import starmap
from operator import or_
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import arg, subcommand

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..autograd.nn import size
from ..data.batches import passages
from ..data.files import DataError, read_examples, read_text
from ..methods import METHODS, Probe
from ..methods.template import Layout
from ..tasks.base import RESERVED
from ..tasks.classify import Classify
from ..training.checkpoint import FILE
from ..training.optim import AdamW, schedule
from ..training.trainer import NonFinite, Trainer
from . import evaluation
from .common import (
    BlockSize,
    Command,
    Config,
    File,
    Folder,
    Json,
    LabelColumn,
    Model,
    TextColumn,
    check_at_least,
    check_lr,
    check_new,
    new_folder,
    optional,
    print_line,
    progress,
)

MOST = 320  # held-out passages of a text that are evaluated


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
    evaluate: Callable  # () -> {"loss": …} or {"accuracy": …} of the adaptation, on held-out data
    baseline: dict  # what the report has to compare this with
    labels: list | None = None  # the names of the classes

    def cost(self):
        """Return a number that is lower the better the adaptation is."""
        scores = self.evaluate()
        return scores["loss"] if "loss" in scores else -scores["accuracy"]


@dataclass
class Train(Command):
    """Train one method on a frozen model: minipeft train lora --data FILE --out FOLDER"""

    method: Method
    """The fields of a method are flags, too: `minipeft train lora --help`."""
    data: File
    """A text, or examples with labels (.jsonl, .csv or .tsv).  10 % of it is held out."""
    out: Folder
    """Folder for the adaptation, metrics.jsonl and, for examples, labels.json."""
    model: Model = None
    text_column: TextColumn = "text"
    label_column: LabelColumn = "label"
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
        part = self.out.with_name(f"{self.out.name}.part")
        if self.resume and not part.exists():
            raise DataError(f"{part} does not exist: there is no training to resume")
        if part.exists() and not self.resume:
            raise DataError(f"{part} exists: continue that training with --resume, or delete it")
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        prepare = self.on_examples if evaluation.has_labels(self.data) else self.on_text
        job = prepare(model, tokenizer, np.random.default_rng(self.seed))
        start = time.monotonic()
        self.fit(job, part)
        with new_folder(self.out) as new:
            hf.save(job.adaptation, new)
            shutil.copy(part / "metrics.jsonl", new)
            if job.labels:
                (new / evaluation.LABELS).write_text(json.dumps(job.labels))
        shutil.rmtree(part)
        trained = size(job.adaptation)
        report = {"method": repr(self.method), "trained_params": trained}
        report |= {"trained_share": trained / size(model), "seconds": time.monotonic() - start}
        self.output(report | {"out": str(self.out)} | job.baseline | job.evaluate())

    def check_flags(self):
        """Raise ValueError for a flag out of its range, DataError if --out exists."""
        check_at_least(1, steps=self.steps, batch_size=self.batch_size)
        check_at_least(1, micro_batches=self.micro_batches, save_steps=self.save_steps)
        check_at_least(1, patience=1 if self.patience is None else self.patience)
        check_at_least(2, block_size=self.block_size)
        check_at_least(0, warmup_steps=self.warmup_steps, seed=self.seed)
        if self.lr is not None:
            check_lr(self.lr)
        check_new(self.out)

    def fit(self, job: Job, part: Path):
        """Train, with checkpoints and metrics.jsonl in the folder `part`."""
        lr = self.method.lr if self.lr is None else self.lr
        trainer = Trainer(
            job.model,
            job.adaptation,
            AdamW(job.adaptation.parameters(), lr),
            schedule=schedule(self.lr_scheduler, self.steps, self.warmup_steps),
            seed=self.seed,
            micro_batches=self.micro_batches,
        )
        part.mkdir(parents=True, exist_ok=True)
        if (part / FILE).exists():
            trainer.resume(part)
        every = min(self.save_steps, self.steps)
        options = {"log": part / "metrics.jsonl", "folder": part, "save_every": every}
        if self.patience:
            options |= {"evaluate": job.cost, "every": every, "patience": self.patience}
        try:
            with progress("training", self.steps) as track:
                trainer.fit(track(job.batches), self.steps, progress=False, **options)
        except NonFinite:
            shutil.rmtree(part)
            raise

    def on_text(self, model, tokenizer, rng):
        """Return the training of a language model on a text, whose last tenth is held out."""
        if isinstance(self.method, Probe):
            raise ValueError(
                f"probe trains the head of a classifier, and {self.data} has no labels: use "
                "examples, .jsonl, .csv or .tsv"
            )
        adaptation = self.method.attach(evaluation.check_decoder(model), rng)
        layout = Layout(adaptation.template, tokenizer, model)
        if layout.back:
            raise ValueError(
                f"template={adaptation.template!r}: to train on a text, {{x}} must come last"
            )
        what = f"--block-size {self.block_size}"
        evaluation.check_length(model, adaptation, layout, self.block_size, what)
        ids = tokenizer.encode(read_text(self.data)).ids
        train, held_out = ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :]
        source = f"{self.data}, its last tenth"
        dev = evaluation.split_passages(held_out, self.block_size, source)[:MOST]
        samples = passages(train, self.batch_size, self.block_size, rng)
        batches = (layout.language(ids) for ids, *_ in samples)
        plain = Layout(PLAIN.template, tokenizer, model)
        baseline = {"base_loss": evaluation.mean_loss(model, PLAIN, plain, dev)}
        evaluate = lambda: {"loss": evaluation.mean_loss(model, adaptation, layout, dev)}
        return Job(model, adaptation, batches, evaluate, baseline)

    def on_examples(self, model, tokenizer, rng):
        """Return the training of a classifier on examples."""
        examples = read_examples(self.data, self.text_column, self.label_column)
        splits = stratified_split(self.data, examples, rng)
        task = Classify(str(self.data), splits, model, tokenizer)
        adaptation = task.attach(self.method, rng)
        longest = model.config.length - RESERVED
        what = f"texts of up to {longest} tokens"
        evaluation.check_length(task.network, adaptation, task.layout(adaptation), longest, what)
        majority = task.majority("held out")["accuracy"]
        baseline = {"majority_accuracy": majority, "truncated": task.truncated}
        network, batches = task.model_and_batches(adaptation, self.batch_size, rng)
        evaluate = lambda: task.evaluate(adaptation, "held out")
        return Job(network, adaptation, batches, evaluate, baseline, task.classes)

    def show(self, report):
        trained, share = report["trained_params"], 100 * report["trained_share"]
        print_line(
            f"{report['method']}: {trained:,} trained parameters ({share:.2f} % of the model), "
            f"{report['seconds']:.0f} s"
        )
        if "loss" in report:
            before, after = report["base_loss"], report["loss"]
            print_line(f"held-out loss: {after:.3f}; of the base model: {before:.3f}")
        else:
            accuracy, majority = 100 * report["accuracy"], 100 * report["majority_accuracy"]
            print_line(f"held-out accuracy: {accuracy:.1f} %; majority class: {majority:.1f} %")
            if report["truncated"]:
                print_line(f"{report['truncated']:,} texts were too long and were truncated")
        print_line(f"saved in {report['out']}")


def stratified_split(source, examples: list, rng) -> dict[str, list]:
    """Return "train" and "held out", a tenth of the examples of each label.

    The only example of a label is in "train".
    """
    if len(examples) < 20:
        raise DataError(f"{source}: {len(examples)} examples are too few: give at least 20")
    by_label, splits = defaultdict(list), {"train": [], "held out": []}
    for i in rng.permutation(len(examples)):
        by_label[examples[i][1]].append(examples[i])
    for group in by_label.values():
        count = min(len(group) - 1, -(-len(group) // 10))
        splits["held out"] += group[:count]
        splits["train"] += group[count:]
    if not splits["held out"]:
        raise DataError(f"{source}: no label has two examples, one to train on and one to test on")
    return splits
