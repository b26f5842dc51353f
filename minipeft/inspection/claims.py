"""The claims of an equation: the code and the numbers of the literal side and of the library's."""

import ast
import linecache
from collections.abc import Iterator
from functools import cache
from types import GeneratorType

import numpy as np

from ..equations.draw import Draw
from ..equations.entry import Differs, Equal, Equation, as_claim
from .source import file_name, place_of

SHOWN = 4  # numbers of each side


def describe(equation: Equation, seed) -> dict:
    """Return file and line of an equation, and its claims on the draw of one seed, for JSON.

    A claim has the code, shape and first numbers of both sides, and the line of its `yield`.  After
    an exception there are no more claims.
    """
    file, line = place_of(equation.generator)
    claims = [describe_claim(*located) for located in located_claims(equation, seed)]
    return {"file": file, "line": line, "claims": claims}


def located_claims(equation, seed) -> Iterator[tuple[Equal, str, list, tuple[str, ...]]]:
    """Yield each claim, "file:line" of its `yield`, and the numbers and the code of both sides."""
    generator = equation.generator(Draw(seed))
    while True:
        try:
            claim = as_claim(next(generator))
            sides = claim.sides
        except KeyboardInterrupt:
            raise
        except BaseException:  # the end, or what `Equation.verify` reports
            return
        inner = innermost(generator)
        code, line = inner.gi_code, inner.gi_frame.f_lineno
        source = "".join(linecache.getlines(code.co_filename))
        codes = (codes for (first, last), codes in yields(source) if first <= line <= last)
        yield claim, f"{file_name(code)}:{line}", sides, next(codes, ("", ""))


def innermost(generator: GeneratorType) -> GeneratorType:
    """Return the generator that a generator yields from, if it does, or itself."""
    inner = generator.gi_yieldfrom
    return innermost(inner) if isinstance(inner, GeneratorType) else generator


@cache
def yields(source: str) -> list[tuple[tuple[int, int], tuple[str, ...]]]:
    """Return the first and last line of each `yield` in a source, and the code of its two sides.

    The code of a variable is the last assignment to it above.  If the sides are not written one
    after the other, the code of both is that of the whole value.
    """
    nodes = ast.walk(ast.parse(source))
    found = []
    for function in (node for node in nodes if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            if isinstance(node, ast.Yield | ast.YieldFrom) and node.value:
                sides = [code_of(side, function, source) for side in sides_of(node.value)]
                found.append(((node.lineno, node.end_lineno), tuple(sides)))
    return found


def sides_of(value: ast.expr) -> tuple[ast.expr, ast.expr]:
    """Return the two sides in what is yielded: a tuple, or a call of Equal or Differs."""
    if isinstance(value, ast.IfExp):
        return sides_of(value.body)
    parts = value.elts if isinstance(value, ast.Tuple) else []
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        parts = value.args if value.func.id in ("Equal", "Differs") else []
    return (parts[0], parts[1]) if len(parts) > 1 else (value, value)


def code_of(side: ast.expr, function: ast.FunctionDef, source: str) -> str:
    """Return the code of one side on one line: of a variable, the assignment before it."""
    node: ast.AST = side
    if isinstance(side, ast.Name):
        assigned = [n for n in ast.walk(function) if isinstance(n, ast.Assign)]
        above = [n for n in assigned if n.lineno < side.lineno and side.id in names_set(n)]
        node = max(above, key=lambda n: n.lineno, default=side)
    return " ".join((ast.get_source_segment(source, node) or "").split())


def names_set(assignment: ast.Assign) -> set[str]:
    """Return the names that an assignment sets."""
    names = [n for n in ast.walk(assignment) if isinstance(n, ast.Name)]
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}


def describe_claim(claim, at, sides, codes) -> dict:
    """Return a claim for JSON."""
    error = claim.error
    literal, library = map(describe_side, sides, codes)
    return {
        "claim": "differ" if isinstance(claim, Differs) else "equal",
        "tolerance": claim.tolerance,
        "difference": error if np.isfinite(error) else None,
        "ok": bool(claim.holds),
        "at": at,
        "literal": literal,
        "library": library,
    }


def describe_side(x, code) -> dict:
    """Return the code of one side of a claim, and its shape and first numbers, null if infinite."""
    first = [n if np.isfinite(n) else None for n in x.ravel()[:SHOWN].tolist()]
    return {"code": code, "shape": x.shape, "first": first}
