"""Files of text, and files of examples with labels."""

import codecs
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from .labels import class_name, fraction
from .rows import RowError, csv_rows, json_rows, tsv_rows

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which UTF-8 can't encode
NAME = re.compile(r"[\w.-]*")  # of a column
READERS = {  # how the name of a file of examples ends: what reads its rows
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": tsv_rows,
}
TEXTS = ".txt", ".text", ".md", ".rst", ""
KINDS = (
    f"examples end in {', '.join(READERS)}, and a text in {', '.join(filter(None, TEXTS))}, or "
    "has no ending"
)


class DataError(ValueError):
    """A file or data that can't be used: which, where in it, and what was expected."""


def holds_examples(path) -> bool:
    """Return whether a file holds examples, and not one text, as the ending of its name says.

    Raises DataError for an ending that is unknown, and for .csv.txt and the like.
    """
    path = Path(path)
    check_file(path)
    *others, ending = ["", *(suffix.lower() for suffix in path.suffixes)]
    if ending in READERS:
        return True
    if ending not in TEXTS:
        raise DataError(f"{path}: the ending {ending!r} is unknown: {KINDS}")
    if inner := next((suffix for suffix in others if suffix in READERS), None):
        raise DataError(f"{path} ends in {inner}{ending}: rename it; {KINDS}")
    return False


def check_file(path: Path) -> None:
    """Raise DataError if there is no file at `path`."""
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file")


def read_examples(
    path,
    text_column: str | Sequence[str] = "text",
    label_column: str = "label",
    labels_needed: bool = True,
    as_text: bool = False,
) -> list[tuple]:
    """Return [(text, label), ...] from a file with named columns, in JSON, CSV or TSV.

    text_column: the name of the column of texts; two names make each text a pair (first, second).
    Labels are names of classes: see `class_name`.  If they are not needed, a missing one is None.
    as_text: labels are texts, and kept as they are.
    Raises DataError, with the line, for a missing text or label, and for labels that are numbers
    and not all whole, which need a regression.
    """
    columns = (text_column,) if isinstance(text_column, str) else tuple(text_column)
    if len(columns) not in (1, 2):
        raise ValueError(f"give one column of texts, or two for pairs; got {len(columns)}")
    if len({*columns, label_column}) <= len(columns):
        raise ValueError(f"columns must differ: texts in {columns}, labels in {label_column!r}")

    def read_row(row, line):
        texts = [read_cell(row, column, line) for column in columns]
        read = read_cell if as_text else partial(read_label, needed=labels_needed)
        return texts[0] if len(columns) == 1 else tuple(texts), read(row, label_column, line)

    rows = read_rows(path, read_row)
    labels = [label for _, (_, label) in rows]
    if not as_text and (number := fraction(filter(None, labels))):
        raise DataError(
            f"{path}:{rows[labels.index(number)][0]}: the label {number} is not whole: regression "
            "(num_labels=1) is not supported; labels must be names or whole numbers"
        )
    return [example for _, example in rows]


def read_rows(path, read: Callable) -> list[tuple]:
    """Return [(line, read(row, line)), ...] of a file with named columns, in JSON, CSV or TSV.

    Raises DataError if there are no rows, and, with the line, for a RowError of `read`.
    """
    path = Path(path)
    check_file(path)
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path} does not hold examples: {KINDS}")
    try:
        rows = READERS[path.suffix.lower()](read_text(path))
        results = [(line, read(row, line)) for line, row in rows]
    except RowError as error:
        raise DataError(f"{path}:{error.line}: {error}") from None
    if not results:
        raise DataError(f"{path}: the file has no examples")
    return results


def read_cell(row: dict, column: str, line: int) -> str:
    """Return the text in a column; raise RowError if there is none."""
    text = row.get(column)
    if text is None or isinstance(text, str) and not text.strip():
        raise missing(row, column, line)
    if not isinstance(text, str) or LONE_SURROGATE.search(text):
        raise RowError(line, f"{column!r} must be a text, not {text!r:.40}")
    return text


def read_label(row: dict, column: str, line: int, needed: bool) -> str | None:
    """Return the name of a class; raise RowError if there is none and it is needed."""
    try:
        name = class_name(row.get(column))
    except ValueError as error:
        raise RowError(line, f"{column!r}: {error}") from None
    if name is None and needed:
        raise missing(row, column, line)
    return name


def missing(row: dict, column: str, line: int) -> RowError:
    """Return the error for a row without a value in a column."""
    columns = ", ".join(map(str, row)) or "none"
    hint = "" if column in row else " (name yours by --text-column and --label-column)"
    return RowError(line, f"no value for the column {column!r}; columns: {columns}{hint}")


def read_text(path) -> str:
    """Return the text of a UTF-8 file, with a newline at the end of each line."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not a file") from None
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path} is in UTF-16: save it in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not readable as UTF-8 text: {error}") from None
    if "\0" in text:
        raise DataError(f"{path}: not readable as UTF-8 text: it holds NUL, as binary files do")
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_prose(path, columns: Sequence[str] = ("text", "label")) -> str:
    """Return the text of a file; raise DataError if it holds examples under another ending.

    That is JSON, or a table: its first line is names, one of them of these columns.
    """
    text = read_text(path)
    first = text.lstrip().partition("\n")[0]
    tables = [[name.strip(' "') for name in first.split(mark)] for mark in ",;\t"]
    if any(len(t) > 1 and {*columns} & {*t} and all(map(NAME.fullmatch, t)) for t in tables):
        raise DataError(f"{path} holds a table of examples: rename it to .csv or .tsv")
    try:
        next(json_rows(text))
    except (RowError, StopIteration):
        return text
    raise DataError(f"{path} holds examples in JSON: rename it to .jsonl or .json")
