"""Arrays of numbers as lines of text, with names of rows and columns."""

from collections.abc import Iterator

import numpy as np
from rich.cells import cell_len, set_cell_size

CELL = 9  # columns of a number and the space before it


def format_number(x: float | None) -> str:
    """Return a number with three digits, or "-∞" for NaN or None, the score of a masked key."""
    return "-∞" if x is None or np.isnan(x) else f"{x:.3g}"


def format_column(x: np.ndarray, none: str) -> list[str]:
    """Return numbers with the same decimals: at least three digits of the largest; NaN as `none`.

    Where five decimals are not enough for that, each has three digits of its own.
    """
    largest = np.nanmax(abs(x), initial=0)
    e = int(np.floor(np.log10(largest))) if largest else 0
    text = f"{{:.{max(3 - max(e, 0), 2 - e, 0)}f}}" if -4 < e < 6 else "{:.3g}"
    return [none if np.isnan(n) else text.format(n) for n in x]


def matrix_lines(
    x, rows: list[str], columns: list[str] | None, width: int, none: str = "-∞"
) -> Iterator[str]:
    """Yield the lines of a matrix x (R, C); `none` stands for NaN.

    rows, columns: names; all columns with a name are printed, in several parts if they need them.
    Without names, these are the first columns, and the norm of each row.
    """
    label, C = min(14, 1 + max(map(cell_len, rows), default=0)), x.shape[1]
    fitting = max(2, (width - label) // CELL)
    if columns is None:
        columns = [*map(str, range(C))]
        if C > fitting:
            norms = np.linalg.norm(x, axis=1, keepdims=True)
            columns, x = (
                [*columns[: fitting - 1], "… norm"],
                np.hstack([x[:, : fitting - 1], norms]),
            )
    for start in range(0, len(columns), fitting):
        part = slice(start, start + fitting)
        yield " " * label + "".join(map(cell, columns[part]))
        cells = zip(*(format_column(column, none) for column in x[:, part].T))
        for name, numbers in zip(rows, cells):
            yield set_cell_size(name, label) + "".join(map(cell, numbers))


def cell(text: str) -> str:
    """Return a text cut to its cell, and on the right of it."""
    n = min(cell_len(text), CELL - 1)
    return " " * (CELL - n) + set_cell_size(text, n)
