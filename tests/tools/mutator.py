"""Generate faults: small changes of the syntax tree of a file, such as another operator."""

import ast
import random
from collections.abc import Iterator
from typing import NamedTuple

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


class Mutation(NamedTuple):
    """The text `old`, which starts at an index of the source, and its replacement."""

    start: int
    old: str
    new: str


def mutations(source: str) -> list[Mutation]:
    """Return all mutations of a source, in the order of the text.

    Imports, annotations, decorators, docstrings and the messages of errors are left as they are.
    """
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    content, found = source.encode(), []
    for node in reachable(ast.parse(source)):
        for part, replacement in variants(node):
            if ast.dump(part) == ast.dump(replacement):
                continue
            start = lines[part.lineno - 1] + part.col_offset
            end = lines[part.end_lineno - 1] + part.end_col_offset
            new = ast.unparse(replacement)
            new = f"({new})" if isinstance(replacement, ast.expr) else new
            found.append(Mutation(len(content[:start].decode()), content[start:end].decode(), new))
    return sorted(found)


def sample(source: str, n: int, seed) -> list[Mutation]:
    """Return n different mutations of a source, or all; the same for the same seed."""
    found = mutations(source)
    return sorted(random.Random(str(seed)).sample(found, min(n, len(found))))


def reachable(node) -> Iterator[ast.AST]:
    """Yield the nodes of a tree that may be changed."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
        return
    yield node
    if isinstance(node, ast.Raise):
        return
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from reachable(child)


def variants(node) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield (part of the node, what to write instead)."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            yield node, ast.BinOp(left, OPERATORS[type(op)](), right)
            if isinstance(op, (ast.Add, ast.Sub)):
                yield node, left
        case ast.Compare(left, [op], right):
            yield node, ast.Compare(left, [OPERATORS[type(op)]()], right)
        case ast.BoolOp(op, values):
            yield node, ast.BoolOp(OPERATORS[type(op)](), values)
            yield node, values[0]
        case ast.UnaryOp(ast.Not(), operand):
            yield node, operand
        case ast.Constant(bool() as value):
            yield node, ast.Constant(not value)
        case ast.Constant(int() as value):
            yield node, ast.Constant(value + 1)
        case ast.If() | ast.While() | ast.IfExp():
            yield node.test, ast.UnaryOp(ast.Not(), node.test)
        case ast.Raise() | ast.Expr(ast.Call()):
            yield node, ast.Pass()
        case ast.Call(func, args, keywords):
            for i, keyword in enumerate(keywords):
                if keyword.arg:
                    yield node, ast.Call(func, args, keywords[:i] + keywords[i + 1 :])
            if len(args) > 1 and not any(isinstance(arg, ast.Starred) for arg in args[:2]):
                yield node, ast.Call(func, [args[1], args[0], *args[2:]], keywords)
