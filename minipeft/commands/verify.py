"""minipeft verify: every equation of the papers against the library."""

from dataclasses import asdict, dataclass

import numpy as np
from rich.markup import escape

from ..equations import OPEN, verify
from .common import Command, Config, Json, check_at_least, optional
from .tables import make_table, print_table

STATUS = {True: "ok", False: "fails", None: "open"}


@dataclass
class Verify(Command):
    """Check every equation of the papers against the library on random draws."""

    draws: int = 5
    """Random draws of each equation's inputs."""
    seed: optional(int, "INT") = None
    """Seed of the draws. (default: a new one for each run)"""
    config: Config = None
    json: Json = False

    def run(self):
        check_at_least(1, draws=self.draws)
        check_at_least(0, seed=self.seed or 0)
        results = [asdict(r) for r in verify(self.draws, self.seed)]
        for r in results:
            r["worst"] = r["worst"] if np.isfinite(r["worst"]) else None
        open_entries = [{**entry, "draws": 0, "worst": None, "ok": None} for entry in OPEN]
        self.output(results + open_entries)
        return 0 if all(r["ok"] for r in results) else 1

    def show(self, results):
        table = make_table("id", "formula, source", ">worst error", "result", lines=True)
        for r in results:
            worst = "nan" if r["worst"] is None else f"{r['worst']:.1e}"
            lines = [r["formula"], r["source"], r["why"]]
            text = "\n".join(line for line in lines if line)
            table.add_row(r["id"], escape(text), worst if r["draws"] else "", STATUS[r["ok"]])
        count = {name: sum(r["ok"] is ok for r in results) for ok, name in STATUS.items()}
        total = f"{count['ok']} ok, {count['fails']} fail, {count['open']} open; "
        total += f"random draws of each: {max(r['draws'] for r in results)}; "
        print_table(table, total + "sources: docs/sources.md")
