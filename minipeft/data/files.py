"""Files of text, and files of examples with labels."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which UTF-8 can't encode


class DataError(ValueError):
    """A file or data that can't be used: which, where in it, and what was expected."""


def read_examples(
    path, text_column: str = "text", label_column: str = "label", labels_needed: bool = True
) -> list[tuple]:
    """Return [(text, label), ...] from a .jsonl, .csv or .tsv file with named columns.

    If labels are not needed, the label of an example without one is None.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: the suffix {path.suffix!r} must be one of {', '.join(READERS)}")
    needed, examples = [text_column, label_column][: 1 + labels_needed], []
    for line, row in READERS[path.suffix.lower()](path):
        for column in needed:
            if row.get(column) in (None, ""):
                columns = ", ".join(map(str, row)) or "none"
                raise DataError(
                    f"{path}:{line}: no value for the column {column!r}; columns: {columns}"
                )
        text, label = row[text_column], row.get(label_column)
        if not isinstance(text, str) or LONE_SURROGATE.search(text):
            raise DataError(f"{path}:{line}: {text_column!r} must be a text, not {text!r}")
        examples.append((text, None if label in (None, "") else str(label)))
    if not examples:
        raise DataError(f"{path}: the file has no examples")
    return examples


def read_text(path) -> str:
    """Return the text of a UTF-8 file."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not readable as UTF-8 text: {error}") from None
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text


def read_json_lines(path) -> Iterator[tuple[int, dict]]:
    """Yield (line number, object) of a file with one JSON object a line."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON: {error.msg}") from None
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}:{number}: a line must be an object, {{...}}, not {line[:40]!r}"
                )
            yield number, row


def table_reader(**dialect):
    """Return a reader of tables in a dialect of `csv`; it yields (line number, row)."""

    def read_table(path):
        text = io.StringIO(read_text(path), newline="")
        reader = csv.DictReader(text, **dialect)
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(
                        f"{path}:{reader.line_num}: a row must have {len(reader.fieldnames)} "
                        "columns, as line 1 does"
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: {error}") from None

    return read_table


READERS = {
    ".jsonl": read_json_lines,
    ".csv": table_reader(strict=True),
    ".tsv": table_reader(delimiter="\t", quoting=csv.QUOTE_NONE),
}
