"""minipeft verify: every equation against the library."""

from dataclasses import asdict, dataclass

import numpy as np
from rich.markup import escape
from rich.table import Table

from ..equations import OPEN, verify
from .common import Command, Config, Json, at_least, optional, out


@dataclass
class Verify(Command):
    """Check every equation against the library, on random draws."""

    draws: int = 5
    """Of each equation."""
    seed: optional(int, "INT") = None
    """Without: other draws every time."""
    config: Config = None
    json: Json = False

    def run(self):
        at_least(1, draws=self.draws)
        at_least(0, seed=self.seed or 0)
        results = [asdict(r) for r in verify(self.draws, self.seed)]
        for r in results:
            r["worst"] = r["worst"] if np.isfinite(r["worst"]) else None
        waiting = [{**one, "draws": 0, "worst": None, "ok": None} for one in OPEN]
        self.tell(results + waiting)
        return 0 if all(r["ok"] for r in results) else 1

    def show(self, results):
        table = Table("id", "formula", "source", "draws", "worst", "")
        for r in results:
            kind = {True: "ok", False: "fails: ", None: "open: "}[r["ok"]]
            mark = escape(kind + r["why"])
            worst = "nan" if r["worst"] is None else f"{r['worst']:.1e}"
            worst = worst if r["draws"] else ""
            table.add_row(
                r["id"], escape(r["formula"]), escape(r["source"]), str(r["draws"]), worst, mark
            )
        out.print(table)
