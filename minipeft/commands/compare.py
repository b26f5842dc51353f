"""minipeft compare: every method on one frozen base and one task."""

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich import box
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from .. import hf
from ..adapt import trained
from ..compare import Comparison, Plan
from ..data import read_examples
from ..methods import method
from ..report import legend, markdown, plot, rows
from ..tasks import TASKS, Classify, Imitate, built_in, parts
from .common import err, filling, out, unused


@dataclass
class Compare:
    """Adapt one frozen base by every method, and compare what each reaches and costs."""

    task: Literal[tuple(TASKS)] = "sentiment"
    """One of the built-in world's; "ood" is what it holds back from training."""
    data: Path | None = None
    """Your own examples in its place: .jsonl, .csv or .tsv."""
    text_column: str = "text"
    label_column: str = "label"
    model: str | None = None
    """A Hugging Face folder, or encoder, the built-in one; without: the built-in decoder."""
    methods: tuple[str, ...] = ()
    """Without: all that fit the task."""
    plan: Annotated[Plan, tyro.conf.OmitArgPrefixes] = field(default_factory=Plan)
    full: bool = False
    """Train ten times longer, and from two more seeds."""
    out: Path | None = None
    """A folder for the adaptations, compare.json, report.md and, with the extra `plot`, a plot."""
    json: bool = False
    """Print one JSON document and nothing else."""

    def run(self):
        for name in self.methods:
            method(name)  # an unknown one is told at once
        unused(self.out)
        comparison = Comparison(self.chosen(), self.plan.longer() if self.full else self.plan)
        methods = dict.fromkeys(self.methods or comparison.task.methods)
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
        if self.json:
            print(json.dumps(report))
        else:
            out.print(f"\n{legend(report)}", markup=False, highlight=False)
        if stopped:
            raise stopped

    def chosen(self):
        base, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        if self.data is None:
            return built_in(self.task, base, tokenizer)
        examples = read_examples(self.data, self.text_column, self.label_column)
        splits = parts(examples, np.random.default_rng(0))
        return Classify(self.data.name, splits, base, tokenizer)

    def save(self, report, comparison):
        with filling(self.out) as new:
            for name, adapt in comparison.adapts.items():
                if not isinstance(comparison.task, Imitate):
                    hf.save(adapt, new / name)
                    continue
                for user in range(comparison.task.users):
                    own = adapt.map(lambda p, user=user: trained(p.data[user]))
                    hf.save(own, new / name / f"{user:03}")
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
