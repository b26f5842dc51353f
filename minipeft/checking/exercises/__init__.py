"""Exercises: files with a docstring, hints and an empty body."""

from importlib import resources
from inspect import getsource
from textwrap import dedent

from ...inspection.source import PACKAGE
from ..formulas import FORMULAS

EXERCISES = "lora", "prefix", "prompt", "adapter", "probe", "attention", "backward", "gae", "dpo"


def text(name: str) -> str:
    """Return the file of an exercise."""
    return resources.files(__package__).joinpath(f"{name}.py.txt").read_text("utf-8")


def solution(name: str) -> str:
    """Return the path and the line of the library's own function or class, "…/lora.py:14"."""
    return str(PACKAGE.parent / FORMULAS[name].place)


def code(name: str) -> str:
    """Return the source of that function or class."""
    return dedent(getsource(FORMULAS[name].library)).rstrip()
