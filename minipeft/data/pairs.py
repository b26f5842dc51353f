"""Files of preferences: a prompt, and two answers to it, of which one is preferred."""

from typing import NamedTuple

from .files import DataError, read_cell, read_rows
from .rows import RowError


class Pair(NamedTuple):
    """A prompt, the preferred answer and the other one."""

    prompt: str
    chosen: str
    rejected: str


def read_pairs(path) -> list[Pair]:
    """Return the pairs of a file with the columns prompt, chosen and rejected, in JSON, CSV or TSV.

    In place of `prompt` there may be Alpaca's columns, `instruction` and `input`; an input may be
    empty.  Two equal answers are a tie, which says nothing, and is left out.
    Raises DataError, with the line, for a missing column and an empty text, and if all are ties.
    """
    pairs = [pair for _, pair in read_rows(path, read_pair)]
    if not (different := [pair for pair in pairs if pair.chosen != pair.rejected]):
        raise DataError(f"{path}: the chosen and the rejected answer are equal in every row")
    return different


def read_pair(row: dict, line: int) -> Pair:
    """Return the pair of a row; raise RowError for a missing column or an empty text."""
    first = "instruction" if "instruction" in row else "prompt"
    if lacking := [name for name in (first, "chosen", "rejected") if name not in row]:
        raise RowError(
            line,
            f"no column {lacking[0]!r}: pairs have the columns prompt (or instruction and input), "
            f"chosen and rejected; columns: {', '.join(map(str, row)) or 'none'}",
        )
    prompt, chosen, rejected = (
        read_cell(row, name, line) for name in (first, "chosen", "rejected")
    )
    if first == "instruction" and str(row.get("input") or "").strip():
        prompt = f"{prompt}\n{read_cell(row, 'input', line)}"
    return Pair(prompt, chosen, rejected)
