"""minipeft verify: every equation against the library."""

import json
from dataclasses import asdict, dataclass

import numpy as np
from rich.markup import escape
from rich.table import Table

from ..equations import verify
from .common import out


@dataclass
class Verify:
    """Check every equation against the library, on fresh random draws."""

    draws: int = 5
    seed: int | None = None
    json: bool = False

    def run(self):
        results = verify(self.draws, self.seed)
        if self.json:
            told = [
                asdict(r) | {"worst": r.worst if np.isfinite(r.worst) else None} for r in results
            ]
            print(json.dumps(told))
        else:
            table = Table("id", "formula", "source", "draws", "worst", "")
            for r in results:
                mark = "ok" if r.ok else escape(f"fails: {r.why}")
                formula, source = escape(r.formula), escape(r.source)
                table.add_row(r.id, formula, source, str(r.draws), f"{r.worst:.1e}", mark)
            out.print(table)
        return 0 if all(r.ok for r in results) else 1
