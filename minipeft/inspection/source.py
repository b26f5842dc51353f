"""Where the source of a function is, and what its docstring says."""

import linecache
import re
from collections.abc import Callable
from inspect import unwrap
from pathlib import Path
from types import CodeType

PACKAGE = Path(__file__).parents[1]


def docstring_of(thing) -> tuple[str, str]:
    """Return the equation and the paper that the first line of a docstring has.

    At least four spaces separate its parts.  Without a docstring, the name is the equation; without
    a part that has a year, the paper is "".
    """
    equation, *rest = re.split(r" {4,}", (thing.__doc__ or thing.__name__).strip().split("\n")[0])
    return equation, rest[-1] if rest and re.search(r"\b\d{4}", rest[-1]) else ""


def place_of(function: Callable, text: str = "def ") -> tuple[str, int]:
    """Return the file of a function, as `file_name` does, and the first line that has a text."""
    code = unwrap(function).__code__
    lines, start = linecache.getlines(code.co_filename), code.co_firstlineno
    line = next((n for n, s in enumerate(lines[start - 1 :], start) if text in s), start)
    return file_name(code), line


def file_name(code: CodeType) -> str:
    """Return the file of a function's code, one of the library from its root: minipeft/….py."""
    path = Path(code.co_filename)
    inside = path.is_relative_to(PACKAGE)
    return (path.relative_to(PACKAGE.parent) if inside else path).as_posix()
