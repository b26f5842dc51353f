"""minipeft compare: train several methods on one frozen base model and one task."""

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich import box
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .. import hf
from ..data.files import read_examples
from ..data.splits import split
from ..methods import KINDS, method
from ..tasks.builtin import TASKS, built_in
from ..tasks.classify import Classify
from ..tasks.compare import Comparison, Plan
from ..tasks.report import legend, markdown, plot, rows
from ..tasks.write import Imitate
from .common import (
    Command,
    Config,
    Json,
    LabelColumn,
    Model,
    TextColumn,
    check_at_least,
    check_lr,
    check_new,
    flag,
    new_folder,
    optional,
    stderr,
    stdout,
)
from .evaluation import LABELS


@dataclass
class Compare(Plan, Command):
    """Train several methods on one frozen model; compare their scores and costs."""

    task: Literal[tuple(TASKS)] = "sentiment"
    """Built-in task; its OOD test examples are of kinds that training does not have."""
    data: optional(Path, "FILE") = None
    """Examples with labels (.jsonl, .csv or .tsv), instead of a built-in task."""
    text_column: TextColumn = "text"
    label_column: LabelColumn = "label"
    model: Model = None
    methods: flag(tuple[str, ...], "[METHOD ...]") = ()
    """Names of methods, or `all`. (default: one method of each kind)"""
    long: bool = False
    """Train for ten times as many steps, and from two more seeds."""
    out: optional(Path, "FOLDER") = None
    """Folder for the adaptations, compare.json, report.md and, with matplotlib, compare.png."""
    config: Config = None
    json: Json = False

    renamed = {"batch": "batch-size", "rates": "lrs", "full": "long"}

    def run(self):
        check_at_least(1, steps=self.steps, batch_size=self.batch_size, seeds=self.seeds)
        check_lr(*self.lrs, name="lrs")
        for name in set(self.methods) - {"all"}:
            method(name)  # raises ValueError for an unknown name
        check_new(self.out)
        plan = Plan(self.steps, self.batch_size, self.lrs, self.seeds)
        comparison = Comparison(self.make_task(), plan.longer() if self.long else plan)
        methods = list(dict.fromkeys(self.method_names(comparison.task.methods)))
        start, interrupt = time.perf_counter(), None
        with nullcontext() if self.json else Live(console=stdout, refresh_per_second=4) as live:
            try:
                for report in comparison.run(methods):
                    report["seconds"] = time.perf_counter() - start
                    if live:
                        live.update(Group(Text(legend(report)), self.table(report, methods)))
                    if not stdout.is_terminal and report["results"]:
                        name = report["results"][-1]["method"]
                        stderr.print(f"{name} done after {report['seconds']:.0f} s")
            except KeyboardInterrupt as stop:
                interrupt = stop
        if self.out and report["results"]:
            self.save(report, comparison)
        if self.json:
            print(json.dumps(report))
        if interrupt:
            raise interrupt

    def method_names(self, suitable):
        """Return the methods to train; `suitable` are those that can learn the task."""
        if "all" in self.methods:
            return suitable
        return self.methods or [name for name in KINDS if name in suitable]

    def make_task(self):
        """Return the task: the examples in --data, or a built-in one."""
        base, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        if self.data is None:
            return built_in(self.task, base, tokenizer)
        examples = read_examples(self.data, self.text_column, self.label_column)
        splits = split(examples, np.random.default_rng(0))
        return Classify(self.data.name, splits, base, tokenizer)

    def save(self, report, comparison):
        """Write the adaptations, the report as JSON and as a page, and the plot."""
        with new_folder(self.out) as new:
            for name, adaptation in comparison.adaptations.items():
                if isinstance(comparison.task, Imitate):
                    for user in range(comparison.task.users):
                        hf.save(adaptation.user(user), new / name / f"{user:03}")
                    continue
                hf.save(adaptation, new / name)
                if type(comparison.task) is Classify:
                    (new / name / LABELS).write_text(json.dumps(comparison.task.classes))
            (new / "compare.json").write_text(json.dumps(report, indent=2))
            image = "compare.png"
            try:
                plot(report, new / image)
            except ImportError:
                image = None
                stderr.print("no plot without matplotlib: pip install minipeft[plot]", markup=False)
            (new / "report.md").write_text(markdown(report, image))

    def table(self, report, methods):
        """Return the table of the results so far, with a line for the method in training."""
        titles, *body = rows(report)
        caption = f"{escape(report['task'])}, {report['seconds']:.0f} s"
        table = Table(caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)
        for title in titles:
            justify = "left" if title == "method" else "right"
            title = title.replace("trained ", "trained\n").replace("peak ", "peak\n")
            table.add_column(title, justify=justify, no_wrap=True)
        for row in body:
            table.add_row(*row)
        for name in methods[len(report["results"]) :][:1]:
            table.add_row(name, *["…"] * (len(titles) - 1))
        return table
