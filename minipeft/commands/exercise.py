"""minipeft exercise: a file with a method or a function to fill in."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ..checking.exercises import EXERCISES, code, solution, text
from ..storage.folders import write_atomically
from .common import Command, Config, Json, check_new, flag, optional, print_line

NAMES = "|".join(EXERCISES)


@dataclass
class Exercise(Command):
    """Write a file with a method to fill in: its equation, hints, and an empty body."""

    name: Positional[Annotated[Literal[EXERCISES], arg(metavar=NAMES)]]
    """What to write."""
    out: optional(Path, "FILE") = None
    """Python file to write. (default: NAME.py in the current folder)"""
    solution: flag(bool) = False
    """Print the solution, the library's own code, with its file and line; write nothing."""
    config: Config = None
    json: Json = False

    def run(self):
        report = {"name": self.name, "solution": solution(self.name), "file": None}
        if not self.solution:
            path = self.out or Path(f"{self.name}.py")
            if path.suffix != ".py":
                raise ValueError(f"--out {path} must end in .py: it is a Python file")
            check_new(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text(self.name).encode())
            check = f"minipeft check {quote(str(path))} --as {self.name}"
            report |= {"file": str(path), "check": check}
        else:
            report["code"] = code(self.name)
        self.output(report)

    def show(self, report):
        if report["file"] is None:
            print_line(f"{report['solution']}\n\n{report['code']}")
        else:
            print_line(f"Wrote {report['file']}. Fill it in, then run `{report['check']}`.")
