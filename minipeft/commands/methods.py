"""minipeft methods: what there is, what it trains of a model, and how it fits into one view."""

from dataclasses import dataclass

import numpy as np
from rich.markup import escape
from rich.table import Table

from .. import hf
from ..autograd.nn import size
from ..methods import METHODS, Probe
from ..methods.table import COLUMNS, rows
from ..methods.unified import UNIFIED
from .common import Command, Config, Json, Model, out


@dataclass
class Methods(Command):
    """Show every method: where it stands, its equation, and how many numbers it trains."""

    model: Model = None
    config: Config = None
    json: Json = False

    def run(self):
        model, rng = hf.load(self.model), np.random.default_rng(0)
        whole, found = size(model), []
        for row in rows():
            kind = METHODS[row[0]]
            adaptation = (
                None if kind is Probe else kind().attach(model, rng)
            )  # a head's size is open
            trained = size(adaptation) if adaptation else None
            share = trained and trained / whole
            found.append(dict(zip(COLUMNS, row)) | {"trained": trained, "share": share})
        view = [{k: v for k, v in vars(d).items() if k != "example"} for d in UNIFIED]
        self.tell({"parameters": whole, "methods": found, "unified": view})

    def show(self, report):
        table = Table("name", "where", "equation", "starts as", "paper")
        table.add_column("trained", justify="right")
        table.add_column("%", justify="right")
        for row in report["methods"]:
            cells = [escape(row[c]) for c in ("name", "where", "equation", "starts as", "paper")]
            counts = ("a head", "") if row["trained"] is None else shown(row)
            table.add_row(*cells, *counts)
        table.caption = f"trained beside a base of {report['parameters']:,}, with default fields"
        out.print(table)
        table = Table("method", "Δh", "insertion", "modified", "composition")
        for row in report["unified"]:
            cells = (row[c] for c in ("method", "form", "insertion", "modified", "composition"))
            table.add_row(*map(escape, cells))
        table.caption = "the unified view: He et al. 2022, table 1"
        out.print(table)


def shown(row):
    return f"{row['trained']:,}", f"{100 * row['share']:.2f}"
