"""minipeft compare: every method on one frozen base and one task."""

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from .. import hf
from ..compare import Comparison, Plan
from ..data import read_examples
from ..methods import METHODS, method
from ..tasks import parts, task
from ..world import sentiment
from .common import filling, out, unused


@dataclass
class Compare:
    """Adapt one frozen base by every method, and compare what each reaches and costs."""

    data: Path | None = None
    """Your examples, .jsonl, .csv or .tsv; without: the built-in reviews, some domains held out."""
    text_column: str = "text"
    label_column: str = "label"
    model: Path | None = None
    """A Hugging Face GPT-2 folder; without: the built-in base."""
    methods: tuple[str, ...] = tuple(METHODS)
    full: bool = False
    """Train ten times longer, from five seeds."""
    out: Path | None = None
    """A folder for the adaptations and compare.json."""
    json: bool = False
    """Print one JSON document and nothing else."""

    def run(self):
        start = time.perf_counter()
        for name in self.methods:
            method(name)  # an unknown one is told at once
        unused(self.out)
        model, tokenizer = hf.load(self.model), hf.load_tokenizer(self.model)
        chosen = task(*self.examples(), tokenizer, model.config.length)
        plan = Plan(steps=600, seeds=5) if self.full else Plan()
        comparison = Comparison(model, chosen, plan)
        with nullcontext() if self.json else Live(console=out, refresh_per_second=4) as live:
            for report in comparison.reports(self.methods):
                report["seconds"] = time.perf_counter() - start
                if live:
                    live.update(self.table(report))
        if self.out:
            with filling(self.out) as new:
                for name, adapt in comparison.adapts.items():
                    hf.save(adapt, new / name)
                (new / "compare.json").write_text(json.dumps(report, indent=2))
        if self.json:
            print(json.dumps(report))
        else:
            out.print()  # where there is no terminal, the table ends without a new line

    def examples(self):
        if self.data is None:
            return "sentiment", sentiment.splits()
        examples = read_examples(self.data, self.text_column, self.label_column)
        return self.data.name, parts(examples, np.random.default_rng(0))

    def table(self, report):
        tests = list(report["majority"])
        size = f"{report['parameters']:,} parameters, frozen"
        took = f"{report['seconds']:.0f} s"
        table = Table(title=f"{escape(report['task'])}: {size}", caption=took)
        for name in ("method", "trained", "of the base", *tests, "rate", "seconds"):
            table.add_column(name, justify="left" if name == "method" else "right")
        majority = [f"{100 * report['majority'][test]:.1f}" for test in tests]
        table.add_row("(majority)", "0", "0 %", *majority, "", "")
        for r in report["results"]:
            scores = [f"{100 * r[t]['mean']:.1f} ± {100 * r[t]['spread']:.1f}" for t in tests]
            share = f"{100 * r['share']:.2f} %"
            costs = f"{r['rate']:g}", f"{r['seconds']:.1f}"
            table.add_row(r["method"], f"{r['trainable']:,}", share, *scores, *costs)
        for name in self.methods[len(report["results"]) :][:1]:
            table.add_row(name, *["…"] * (len(table.columns) - 1))
        return table
