"""minipeft check: a method or a function of your own, by the laws of all methods."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from inspect import isclass, isfunction
from pathlib import Path
from types import ModuleType
from typing import Annotated

import numpy as np
from rich.markup import escape
from tyro.conf import Positional, arg

from ..adaptation.method import Method
from ..checking.check import check, formula_of
from ..checking.finding import NOT_WRITTEN
from .common import Command, Config, Json, did_you_mean
from .own_files import load_file
from .tables import make_table, print_table

NAME = "Equation that it should be: lora, prefix, attention, dpo, … (required for a function)"


@dataclass
class Check(Command):
    """Check a method of your own, or a function: by every law, and by its equation."""

    file: Positional[Annotated[str, arg(metavar="FILE[:NAME]")]]
    """Python file, which is run, and the class or the function in it. (NAME: the only one)"""
    as_: Annotated[
        str | None, arg(name="as", metavar="EQUATION", help=NAME, help_behavior_hint="")
    ] = None
    config: Config = None
    json: Json = False

    def run(self):
        if self.as_:
            formula_of(self.as_)  # raises ValueError for an unknown name
        path, _, name = self.file.rpartition(":")
        if not path or not name.isidentifier():
            path, name = self.file, ""
        with redirect_stdout(sys.stderr):  # what the file prints is no part of the report
            thing = pick(load_file(Path(path)), path, name, self.as_)
            report = check(thing, self.as_)
        findings = [asdict(finding) for finding in report.findings]
        for f in findings:
            if self.json and f["worst"] is not None and not np.isfinite(f["worst"]):
                f["worst"] = None  # JSON has no NaN
        name = getattr(thing, "__name__", type(thing).__name__)
        self.output(
            {"name": name, "as": self.as_, "held": report.held, "laws": report.laws}
            | {"findings": findings}
        )
        return 0 if report.ok else 1

    def show(self, report):
        table = make_table("law", "what it says", ">worst error", "result", lines=True)
        for (result, why), group in grouped(report["findings"]):
            worst = group[0]["worst"]
            worst = "" if worst is None else f"{worst:.1e}" if worst else "0"
            names, lines = "\n".join(f["law"] for f in group), [group[0]["says"], why]
            if len(group) > 1:
                lines = [why]
            if len(group) > 1 and result == NOT_WRITTEN:
                names, lines = f"{len(group)} laws", [f"they wait for this: {why}"]
            text = "\n".join(filter(None, lines))
            table.add_row(names, escape(text), worst, result)
        named = f"{report['name']}, as {report['as']}" if report["as"] else report["name"]
        print_table(table, f"{named}: {report['held']} of {report['laws']} laws hold")


def grouped(findings: list[dict]) -> list:
    """Return [((result, why), findings)]; those that fail for the same reason are one group."""
    groups: dict = {}
    for f in findings:
        groups.setdefault((f["result"], f["why"] or f["law"]), []).append(f)
    return [((result, group[0]["why"]), group) for (result, _), group in groups.items()]


def pick(module: ModuleType, path: str, name: str, formula: str | None):
    """Return the method or function of this name or, without one, the only one of a file.

    A function may also be found by the name of the equation.  Raises ValueError.
    """
    own = lambda x: getattr(x, "__module__", None) == module.__name__
    is_method = lambda x: isclass(x) and issubclass(x, Method) and own(x) or isinstance(x, Method)
    things = {n: x for n, x in vars(module).items() if is_method(x) or isfunction(x) and own(x)}
    public = {n: x for n, x in things.items() if not n.startswith("_")}
    if name:
        if name in things:
            return things[name]
        there = ", ".join(things) or "none"
        raise ValueError(
            f"{path} has no method or function called {name}{did_you_mean(name, things)} "
            f"It has {there}"
        )
    methods = {n: x for n, x in public.items() if is_method(x)}
    for found in (methods, {n: x for n, x in public.items() if n == formula}, public):
        if len(found) == 1:
            return next(iter(found.values()))
    if public:
        raise ValueError(f"{path} has {', '.join(public)}: name one, {path}:{next(iter(public))}")
    raise ValueError(f"{path} has no class of minipeft.Method and no function")
