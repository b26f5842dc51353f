"""minipeft methods: every method, how many parameters it trains, and He et al.'s unified view."""

from dataclasses import dataclass

import numpy as np
from rich.markup import escape

from .. import hf
from ..autograd.nn import size
from ..data.words import count
from ..methods import METHODS, Probe
from ..methods.table import COLUMNS, rows
from ..methods.unified import UNIFIED
from .common import Command, Config, Json, Model
from .tables import make_table, print_table


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
        columns = "method", "equation, start, layers, source", ">trained\nparams", ">%"
        table = make_table(*columns, lines=True)
        for row in report["methods"]:
            start, layers = f"start: {row['start']}", f"layers: {row['layers']}"
            text = "\n".join([row["equation"], start, layers, row["paper"]])
            table.add_row(row["name"], escape(text), *format_counts(row))
        print_table(
            table,
            f"{count(len(report['methods']), 'method')}, each with its default fields; %: share of "
            f"the {report['base_params']:,} parameters of the base model",
        )
        table = make_table("method", "Δh", "insertion", "modified", "composition", lines=True)
        for row in report["unified"]:
            cells = (row[c] for c in ("method", "form", "insertion", "modified", "composition"))
            table.add_row(*map(escape, cells))
        print_table(table, "the unified view of He et al. 2022, table 1")


def format_counts(row):
    """Return the number of trained parameters and their share in percent as text."""
    if row["trained_params"] is None:
        return "its head", ""
    return f"{row['trained_params']:,}", f"{100 * row['trained_share']:.2f}"
