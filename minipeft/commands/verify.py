"""minipeft verify: the equations of the papers, or those of a reader's own, and the library."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.markup import escape
from tyro.conf import Positional, arg

from ..data.files import DataError
from ..data.words import count
from ..equations import EQUATIONS, OPEN, Equation, verify
from ..equations.corrections import CORRECTIONS
from ..inspection.claims import SHOWN, describe
from .arrays import format_number
from .common import Command, Config, Json, check_at_least, did_you_mean, flag, optional, print_line
from .own_files import load_file
from .tables import make_table, print_table

STATUS = {True: "ok", False: "fails", None: "open"}


@dataclass
class Verify(Command):
    """Check every equation of the papers against the library on random draws."""

    file: Positional[Annotated[Path | None, arg(metavar="[FILE]", help_behavior_hint="")]] = None
    """A Python file of your own: run it, and check its equations. (default: those of minipeft)"""
    only: flag(tuple[str, ...], "[ID ...]") = ()
    """Check only these equations, such as PF-2, or those that show a correction, such as X4."""
    verbose: bool = False
    """Also print each claim, on the first draw that fails or else the first: both sides' code."""
    draws: int = 5
    """Random draws of each equation's inputs."""
    seed: optional(int, "INT") = None
    """Seed of the draws. (default: a new one for each run)"""
    config: Config = None
    json: Json = False

    def run(self):
        check_at_least(1, draws=self.draws)
        check_at_least(0, seed=self.seed or 0)
        seed = int(np.random.default_rng().integers(2**32)) if self.seed is None else self.seed
        with redirect_stdout(sys.stderr):  # what a file prints is no part of the report
            report = self.report(seed)
        self.output(report)
        return 1 if any(entry["ok"] is False for entry in report["equations"]) else 0

    def report(self, seed):
        """Return the results of the equations, and the corrections that they show."""
        own = self.file and own_equations(self.file)
        equations, unverified, corrections = choose(self.only, own)
        entries = [asdict(r) for r in verify(self.draws, seed, equations)]
        for entry in entries:
            entry["worst"] = entry["worst"] if np.isfinite(entry["worst"]) else None
        if self.verbose:
            for entry, equation in zip(entries, equations):
                entry |= self.describe(equation, seed)
        entries += [{**entry, "draws": 0, "worst": None, "ok": None} for entry in unverified]
        ok = {entry["id"]: entry["ok"] for entry in entries}
        shown = [
            {"id": id, **c._asdict(), "ok": ok.get(c.equation)} for id, c in corrections.items()
        ]
        return {"equations": entries, "corrections": shown}

    def describe(self, equation, seed):
        """Return the claims on the first draw that fails, or else on the first one."""
        draws = [describe(equation, [seed, i]) for i in range(self.draws)]
        failing = (d for d in draws if not all(claim["ok"] for claim in d["claims"]))
        return next(failing, draws[0])

    def show(self, report):
        entries, corrections = report.values()
        for entry in entries if self.verbose else ():
            if "claims" in entry:
                print_table(claims_table(entry))
        table = make_table("id", "formula, source", ">worst error", "result", lines=True)
        for e in entries:
            worst = "nan" if e["worst"] is None else f"{e['worst']:.1e}"
            text = "\n".join(line for line in (e["formula"], e["source"], e["why"]) if line)
            table.add_row(
                escape(e["id"]), escape(text), worst if e["draws"] else "", STATUS[e["ok"]]
            )
        tally = {name: sum(e["ok"] is ok for e in entries) for ok, name in STATUS.items()}
        total = f"{tally['ok']} ok, {tally['fails']} fail, {tally['open']} open (not verified); "
        total += f"random draws of each: {self.draws}"
        if entries:
            print_table(table, total if self.file else f"{total}; sources: docs/sources.md")
            if self.verbose:
                print_line("Claims are of the first draw that fails, or else of the first draw.")
        if corrections:
            lines = f"{count(len(corrections), 'correction')} of documents: docs/sources.md"
            print_table(corrections_table(corrections), lines)


def own_equations(path: Path) -> list[Equation]:
    """Return the equations of a file of the reader's own; raise DataError if it has none."""
    found = {id(e): e for e in vars(load_file(path)).values() if isinstance(e, Equation)}
    ids = [e.id for e in found.values()]
    if twice := [id for id in ids if ids.count(id) > 1]:
        raise DataError(f"{path} has several equations called {twice[0]!r}: give each its own id")
    if not found:
        raise DataError(
            f'{path} has no equations: write a function under @equation("MY-1"), which is in '
            "minipeft.equations; docs/where.md has one"
        )
    return [*found.values()]


def choose(only, own=None):
    """Return the equations to check, the entries that can't be checked, and the corrections.

    only: ids of equations and of corrections; (): all.  own: a reader's own equations, or None.
    Raises ValueError for an unknown id.
    """
    equations = {e.id: e for e in (EQUATIONS if own is None else own)}
    unverified = {e["id"]: e for e in OPEN} if own is None else {}
    corrections = CORRECTIONS if own is None else {}
    if not only:
        return [*equations.values()], [*unverified.values()], corrections
    known = {id.upper(): id for id in [*equations, *unverified, *corrections]}
    if unknown := [id for id in only if id.upper() not in known]:
        hint = did_you_mean(unknown[0].upper(), known)
        raise ValueError(f"there is no equation {unknown[0]!r}{hint} `minipeft verify` lists all.")
    ids = {known[id.upper()] for id in only}
    shown = {id: c for id, c in corrections.items() if id in ids or c.equation in ids}
    ids |= {c.equation for id, c in shown.items() if id in ids}
    pick = lambda entries: [entry for id, entry in entries.items() if id in ids]
    return pick(equations), pick(unverified), shown


def claims_table(entry):
    """Return a table of the claims of one equation."""
    table = make_table("", "", title=f"{entry['id']}   {entry['formula']}")
    table.add_row("source", escape(entry["source"]))
    table.add_row("equation", escape(f"{entry['file']}:{entry['line']}"))
    for n, claim in enumerate(entry["claims"], 1):
        table.add_section()
        text = f"{STATUS[claim['ok']]}: {relation(claim)}\n{claim['at']}"
        table.add_row(f"claim {n}", escape(text))
        for side in ("literal", "library"):
            shape, numbers = claim[side]["shape"], map(format_number, claim[side]["first"])
            more = " …" if np.prod(shape) > SHOWN else ""
            code = claim[side]["code"].removeprefix(f"{side} = ")
            text = f"{code}\n{tuple(shape)} {' '.join(numbers)}{more}"
            table.add_row(side, escape(text))
    return table


def relation(claim) -> str:
    """Return what a claim says of the difference of its sides, and the difference."""
    difference = "nan" if claim["difference"] is None else f"{claim['difference']:.1e}"
    tolerance = f"{claim['tolerance']:.0e}"
    if claim["claim"] == "differ":
        if claim["ok"]:
            return f"differ, as expected ({difference} > {tolerance})"
        return f"differ by more than {tolerance}; the difference is {difference}"
    equal = f"equal within {tolerance}" if claim["tolerance"] else "equal bit for bit"
    return f"{equal}; the difference is {difference}"


def corrections_table(corrections):
    """Return a table of errors in documents, and of the equations that show them."""
    table = make_table("id", "wrong, right, document", "shown by", lines=True)
    for c in corrections:
        text = f"wrong: {c['wrong']}\nright: {c['right']}\n{c['document']}"
        by = f"{c['equation']}\n{STATUS[c['ok']]}" if c["equation"] else ""
        table.add_row(c["id"], escape(text), by)
    return table
