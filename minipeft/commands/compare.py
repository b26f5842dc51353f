"""minipeft compare: every method on one frozen base and one task."""

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich import box
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from .. import hf
from ..data.files import read_examples
from ..data.splits import split
from ..methods import KINDS, method
from ..tasks.builtin import TASKS, built_in
from ..tasks.classify import Classify
from ..tasks.compare import Comparison, Plan
from ..tasks.report import legend, markdown, plot, rows
from ..tasks.write import Imitate
from .common import Command, Config, Json, Model, at_least, err, filling, optional, out, unused
from .evaluation import LABELS


@dataclass
class Compare(Plan, Command):
    """Adapt one frozen base by every method, and compare what each reaches and costs."""

    task: Literal[tuple(TASKS)] = "sentiment"
    """One of the built-in world's; "ood" is what it holds back from training."""
    data: optional(Path, "FILE") = None
    """Your own examples in its place: .jsonl, .csv or .tsv."""
    text_column: str = "text"
    label_column: str = "label"
    model: Model = None
    methods: tuple[str, ...] = ()
    """Without: one of each kind that can learn the task.  all: every one that can."""
    full: bool = False
    """Train ten times longer, and from two more seeds."""
    out: optional(Path, "FOLDER") = None
    """For the adaptations, compare.json, report.md and, with the extra `plot`, compare.png."""
    config: Config = None
    json: Json = False

    def run(self):
        at_least(1, steps=self.steps, batch=self.batch, seeds=self.seeds)
        if not self.rates or not all(0 < rate < np.inf for rate in self.rates):
            raise ValueError(f"--rates {self.rates}: one or more, above 0")
        for name in set(self.methods) - {"all"}:
            method(name)  # an unknown one is told at once
        unused(self.out)
        plan = Plan(self.steps, self.batch, self.rates, self.seeds)
        comparison = Comparison(self.chosen(), plan.longer() if self.full else plan)
        methods = dict.fromkeys(self.named(comparison.task.methods))
        start, stopped = time.perf_counter(), None
        with nullcontext() if self.json else Live(console=out, refresh_per_second=4) as live:
            try:
                for report in comparison.reports(methods):
                    report["took"] = time.perf_counter() - start
                    if live:
                        live.update(self.table(report, [*methods]))
                    if not out.is_terminal and report["results"]:
                        err.print(f"{report['results'][-1]['method']} done, {report['took']:.0f} s")
            except KeyboardInterrupt as stop:
                stopped = stop
        if self.out and report["results"]:
            self.save(report, comparison)
        self.tell(report)
        if stopped:
            raise stopped

    def named(self, able):
        """The methods that were asked for; `able` are those that can learn the task."""
        if "all" in self.methods:
            return able
        return self.methods or [name for name in KINDS if name in able]

    def show(self, report):
        out.print(f"\n{legend(report)}", markup=False, highlight=False)

    def chosen(self):
        base, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        if self.data is None:
            return built_in(self.task, base, tokenizer)
        examples = read_examples(self.data, self.text_column, self.label_column)
        splits = split(examples, np.random.default_rng(0))
        return Classify(self.data.name, splits, base, tokenizer)

    def save(self, report, comparison):
        with filling(self.out) as new:
            for name, adaptation in comparison.adapts.items():
                if isinstance(comparison.task, Imitate):
                    for user in range(comparison.task.users):
                        hf.save(adaptation.user(user), new / name / f"{user:03}")
                    continue
                hf.save(adaptation, new / name)
                if type(comparison.task) is Classify:
                    (new / name / LABELS).write_text(json.dumps(comparison.task.classes))
            (new / "compare.json").write_text(json.dumps(report, indent=2))
            picture = "compare.png"
            try:
                plot(report, new / picture)
            except ImportError:
                picture = None
                err.print("no plot without matplotlib: pip install minipeft[plot]", markup=False)
            (new / "report.md").write_text(markdown(report, picture))

    def table(self, report, methods):
        head, *body = rows(report)
        title = f"{report['task']}: {report['parameters']:,} parameters, frozen"
        table = Table(title=escape(title), caption=f"{report['took']:.0f} s", box=box.SIMPLE_HEAD)
        for name in head:
            table.add_column(name, justify="left" if name == "method" else "right")
        for row in body:
            table.add_row(*row)
        for name in methods[len(report["results"]) :][:1]:
            table.add_row(name, *["…"] * (len(head) - 1))
        return table
