"""minipeft train: one method, on a text or on examples with labels."""

import json
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import starmap
from operator import or_
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
from ..tasks.base import ROOM
from ..tasks.classify import Classify
from ..training.checkpoint import FILE
from ..training.optim import AdamW, schedule
from ..training.trainer import NonFinite, Trainer
from . import evaluation as measure
from .common import (
    Command,
    Config,
    File,
    Folder,
    Json,
    Model,
    at_least,
    filling,
    optional,
    out,
    unused,
    watching,
)

HELD = 320  # passages at most of those held out


def choice(name, method):
    """A method as a subcommand; its help is the first line of its docstring, the equation."""
    equation = re.sub(r"\s{2,}", "   ", method.__doc__.split("\n")[0])
    return Annotated[method, subcommand(name, prefix_name=False, description=equation)]


Method = Annotated[reduce(or_, starmap(choice, METHODS.items())), arg(name="")]


@dataclass
class Job:
    """What is trained and on what; how it is measured, and what that was before."""

    model: object
    adaptation: Adaptation
    batches: object
    measure: Callable
    before: dict
    labels: list | None = None

    def worse(self, adaptation):
        """A number to lower."""
        (score,) = [
            s for name, s in self.measure(adaptation).items() if name in ("loss", "accuracy")
        ]
        return score if "base_loss" in self.before else -score


@dataclass
class Train(Command):
    """Adapt a frozen model by one method: minipeft train lora --data text.txt --out ann"""

    method: Method
    """`minipeft train lora --help` shows the flags of a method."""
    data: File
    """A text, UTF-8; or examples with labels, .jsonl, .csv or .tsv.  A tenth is held out."""
    out: Folder
    """Where the adaptation goes, with metrics.jsonl, and labels.json if there are labels."""
    model: Model = None
    text_column: str = "text"
    label_column: str = "label"
    steps: int = 300
    """Of the optimizer, AdamW."""
    batch: int = 16
    """Passages or examples in a step."""
    passage: int = 64
    """Tokens of a passage of a text."""
    rate: optional(float, "RATE") = None
    """The largest learning rate; without: one that often suits the method."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the rate goes on after the warmup."""
    warmup: int = 20
    """Steps in which the rate rises."""
    seed: int = 0
    """Of the method's start, and the order of the examples."""
    slices: int = 1
    """Parts of a batch that are computed apart: more of them take less memory."""
    every: int = 100
    """Steps between two checkpoints, and two looks at what is held out."""
    patience: optional(int, "LOOKS") = None
    """Stop after so many looks that found nothing better, and keep the best."""
    resume: bool = False
    """Go on with what was stopped: FOLDER.part has it."""
    config: Config = None
    json: Json = False

    def run(self):
        at_least(1, steps=self.steps, batch=self.batch, slices=self.slices, every=self.every)
        at_least(1, patience=1 if self.patience is None else self.patience)
        at_least(2, passage=self.passage)
        at_least(0, warmup=self.warmup, seed=self.seed)
        rate = self.method.rate if self.rate is None else self.rate
        if not 0 < rate < np.inf:
            raise ValueError(f"--rate {rate}: it is a number above 0")
        unused(self.out)
        part = self.out.with_name(f"{self.out.name}.part")
        if part.exists() != self.resume:
            there = "is there: go on with --resume, or delete it"
            raise DataError(f"{part} {'is not there: nothing to resume' if self.resume else there}")
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        prepare = self.examples if measure.check_labels(self.data) else self.text
        job, start = prepare(model, tokenizer, np.random.default_rng(self.seed)), time.monotonic()
        optimizer = AdamW(job.adaptation.parameters(), rate)
        rates = schedule(self.schedule, self.steps, self.warmup)
        trainer = Trainer(
            job.model, job.adaptation, optimizer, rates, seed=self.seed, slices=self.slices
        )
        part.mkdir(parents=True, exist_ok=True)
        log, every = part / "metrics.jsonl", min(self.every, self.steps)
        if (part / FILE).exists():
            trainer.resume(part)
        told = {"log": log, "progress": False, "folder": part, "save_every": every}
        if self.patience:
            worse = lambda: job.worse(job.adaptation)
            told |= {"evaluate": worse, "every": every, "patience": self.patience}
        try:
            with watching("training", self.steps) as each:
                trainer.fit(each(job.batches), self.steps, **told)
        except NonFinite:
            shutil.rmtree(part)
            raise
        with filling(self.out) as new:
            hf.save(job.adaptation, new)
            shutil.copy(log, new)
            if job.labels:
                (new / measure.LABELS).write_text(json.dumps(job.labels))
        shutil.rmtree(part)
        trained = size(job.adaptation)
        report = {"method": repr(self.method), "trained": trained, "share": trained / size(model)}
        report |= {"seconds": time.monotonic() - start, "out": str(self.out)}
        self.tell(report | job.before | job.measure(job.adaptation))

    def text(self, model, tokenizer, rng):
        """A language model and its text."""
        if isinstance(self.method, Probe):
            raise ValueError(
                "a probe trains the head of a classifier: give --data examples with labels, "
                f".jsonl, .csv or .tsv; {self.data} is read as one text"
            )
        adaptation = self.method.attach(measure.causal(model), rng)
        layout = Layout(adaptation.template, tokenizer, model)
        if layout.back:
            raise ValueError(
                f"template={adaptation.template!r}: in a running text nothing follows {{x}}"
            )
        measure.fits(model, adaptation, layout, self.passage, f"--passage {self.passage}")
        ids = tokenizer.encode(read_text(self.data)).ids
        own, kept = ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :]
        rows = measure.windows(kept, self.passage, f"{self.data}, its last tenth")[:HELD]
        drawn = passages(own, self.batch, self.passage, rng)
        batches = (layout.language(ids) for ids, *_ in drawn)
        plain = Layout(PLAIN.template, tokenizer, model)
        before = {"base_loss": measure.loss(model, PLAIN, plain, rows)}
        loss = lambda γ: {"loss": measure.loss(model, γ, layout, rows)}
        return Job(model, adaptation, batches, loss, before)

    def examples(self, model, tokenizer, rng):
        """A classifier and its examples."""
        pairs = read_examples(self.data, self.text_column, self.label_column)
        splits = apart(self.data, pairs, rng)
        task = Classify(str(self.data), splits, model, tokenizer)
        adaptation = task.attach(lambda: self.method, rng)
        room = model.config.length - ROOM
        measure.fits(task.network, adaptation, task.layout(adaptation), room, "a whole text")
        before = {"majority": task.majority("held out")["accuracy"], "shortened": task.shortened}
        model, batches = task.training(adaptation, self.batch, rng)
        scores = lambda γ: task.scores(γ, "held out")
        return Job(model, adaptation, batches, scores, before, task.classes)

    def show(self, report):
        seconds, share = f"{report['seconds']:.0f} s", f"{100 * report['share']:.2f} % of the base"
        say = lambda line: out.print(line, markup=False, highlight=False, soft_wrap=True)
        say(f"{report['method']}: {report['trained']:,} numbers, {share}, in {seconds}")
        if "loss" in report:
            before, after = report["base_loss"], report["loss"]
            say(f"held-out loss a token: {before:.3f} with the base, {after:.3f} adapted")
        else:
            before, after = 100 * report["majority"], 100 * report["accuracy"]
            say(f"held-out accuracy: {after:.1f} %; the commonest label has {before:.1f} %")
            if report["shortened"]:
                say(f"{report['shortened']} texts are too long for the model, and were cut")
        say(f"saved in {report['out']}")


def apart(source, examples, rng):
    """A tenth held out of each label, and of none all: so every label is trained."""
    if len(examples) < 20:
        raise DataError(f"{source}: {len(examples)} examples are too few: bring 20")
    by_label, splits = defaultdict(list), {"train": [], "held out": []}
    for i in rng.permutation(len(examples)):
        by_label[examples[i][1]].append(examples[i])
    for own in by_label.values():
        cut = min(len(own) - 1, -(-len(own) // 10))
        splits["held out"] += own[:cut]
        splits["train"] += own[cut:]
    if not splits["held out"]:
        raise DataError(f"{source}: no label has two examples, one to train and one to test on")
    return splits
