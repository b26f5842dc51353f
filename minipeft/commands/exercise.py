"""minipeft exercise: a file with a method or a function to fill in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ..checking.exercises import EXERCISES, code, solution, text
from .common import Command, Config, Json, check_new, flag, optional, print_line

NAMES = "|".join(EXERCISES)


@dataclass
class Exercise(Command):
    """Write a file with a method to fill in: its equation, hints, and an empty body."""

    name: Positional[Annotated[Literal[EXERCISES], arg(metavar=NAMES)]]
    """What to write."""
    out: optional(Path, "FILE") = None
    """File to write. (default: NAME.py in the current folder)"""
    solution: flag(bool) = False
    """Print the solution, the library's own code, with its file and line; write nothing."""
    config: Config = None
    json: Json = False

    def run(self):
        report = {"name": self.name, "solution": solution(self.name), "file": None}
        if not self.solution:
            path = self.out or Path(f"{self.name}.py")
            check_new(path)
            path.write_text(text(self.name), encoding="utf-8")
            report |= {"file": str(path), "check": f"minipeft check {path} --as {self.name}"}
        else:
            report["code"] = code(self.name)
        self.output(report)

    def show(self, report):
        if report["file"] is None:
            print_line(f"{report['solution']}\n\n{report['code']}")
        else:
            print_line(f"Wrote {report['file']}. Fill it in, then run `{report['check']}`.")
