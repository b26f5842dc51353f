"""Text from files, and batches of tokens from text."""

import csv
import io
import json
import re
from pathlib import Path

HALF = re.compile("[\ud800-\udfff]")  # half a character: what is no UTF-8 is read so


class DataError(ValueError):
    """A file that can't be read as examples: which, where, and what was expected."""


def read_examples(path, text_column="text", label_column="label", needed=True):
    """[(text, label)] from a .jsonl, .csv or .tsv file; columns by name.

    A label that is not needed is None where there is none.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: the ending {path.suffix!r} is none of {', '.join(READERS)}")
    examples = []
    for line, row in READERS[path.suffix.lower()](path):
        for column in (text_column, label_column) if needed else (text_column,):
            if column not in row or row[column] in (None, ""):
                there = ", ".join(map(str, row)) or "nothing"
                raise DataError(f"{path}:{line}: no value for {column!r}; there is {there}")
        if not isinstance(row[text_column], str) or HALF.search(row[text_column]):
            raise DataError(f"{path}:{line}: {text_column!r} is no text: {row[text_column]!r}")
        label = row.get(label_column)
        examples.append((row[text_column], None if label in (None, "") else str(label)))
    if not examples:
        raise DataError(f"{path}: no examples in it")
    return examples


def read_text(path):
    """A UTF-8 file, whole."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not readable as UTF-8 text: {error}") from None
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text


def json_lines(path):
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON: {error.msg}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: a line is an object, {{...}}, not {line[:40]!r}")
            yield number, row


def table(**dialect):
    def rows(path):
        text = io.StringIO(read_text(path), newline="")
        reader = csv.DictReader(text, **dialect)
        try:
            for row in reader:
                if None in row or None in row.values():
                    have = len(reader.fieldnames)
                    raise DataError(f"{path}:{reader.line_num}: not {have} columns, as in line 1")
                yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: {error}") from None

    return rows


READERS = {
    ".jsonl": json_lines,
    ".csv": table(strict=True),
    ".tsv": table(delimiter="\t", quoting=csv.QUOTE_NONE),
}
