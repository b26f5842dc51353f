"""minipeft methods: every method, how many parameters it trains, and He et al.'s unified view."""

from dataclasses import dataclass

import numpy as np
from rich.markup import escape
from rich.table import Table

from .. import hf
from ..autograd.nn import size
from ..methods import METHODS, Probe
from ..methods.table import COLUMNS, rows
from ..methods.unified import UNIFIED
from .common import Command, Config, Json, Model, stdout


@dataclass
class Methods(Command):
    """Show every method: where it acts, its equation, how many parameters it trains."""

    model: Model = None
    config: Config = None
    json: Json = False

    def run(self):
        model, rng = hf.load(self.model), np.random.default_rng(0)
        total, methods = size(model), []
        for row in rows():
            method, trained = METHODS[row[0]], None
            if method is not Probe:  # the size of its head depends on the number of classes
                trained = size(method().attach(model, rng))
            share = trained and trained / total
            counts = {"trained_params": trained, "trained_share": share}
            methods.append(dict(zip(COLUMNS, row)) | counts)
        unified = [{k: v for k, v in vars(d).items() if k != "example"} for d in UNIFIED]
        self.output({"base_params": total, "methods": methods, "unified": unified})

    def show(self, report):
        table = Table("method", "equation, start, layers, source", show_lines=True)
        table.add_column("trained params", justify="right")
        table.add_column("%", justify="right")
        for row in report["methods"]:
            start, layers = f"start: {row['start']}", f"layers: {row['layers']}"
            text = "\n".join([row["equation"], start, layers, row["paper"]])
            table.add_row(row["name"], escape(text), *format_counts(row))
        table.caption = (
            f"trained parameters of each method with its default fields, and their share of the "
            f"{report['base_params']:,} of the base model"
        )
        stdout.print(table)
        table = Table("method", "Δh", "insertion", "modified", "composition")
        for row in report["unified"]:
            cells = (row[c] for c in ("method", "form", "insertion", "modified", "composition"))
            table.add_row(*map(escape, cells))
        table.caption = "the unified view of He et al. 2022, table 1"
        stdout.print(table)


def format_counts(row):
    """Return the number of trained parameters and their share in percent as text."""
    if row["trained_params"] is None:
        return "its head", ""
    return f"{row['trained_params']:,}", f"{100 * row['trained_share']:.2f}"
