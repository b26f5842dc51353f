"""Text from files, and batches of tokens from text."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np

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


def pad(rows, filler=0):
    """Rows of token ids as one array (B, T), and its mask: filler to the right.

    Rows (T, D) of features become (B, T, D) with a filler (D,).
    """
    shape = len(rows), max(map(len, rows))
    ids, mask = np.full((*shape, *np.shape(filler)), filler), np.zeros(shape, bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, True
    return ids, mask


POOL = 16  # batches that are sorted together: padding falls from a third of a batch to a twentieth
POOLS = 4  # an epoch has so many or more, so that a text meets others the next time


def shuffled(examples, size, rng, length=lambda example: 0):
    """Endless lists of `size` examples of about one length, in another order every epoch."""
    while True:
        order, batches = rng.permutation(len(examples)).tolist(), []
        whole = max(1, len(order) // size)  # batches; what is left over waits, long or short
        step = size * min(POOL, max(1, whole // POOLS))
        for at in range(0, whole * size, step):
            pool = order[at : min(at + step, whole * size)]
            pool.sort(key=lambda i: length(examples[i]))
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        for i in rng.permutation(len(batches)):
            yield [examples[j] for j in batches[i]]


def passages(ids, size, length, rng):
    """Endless (ids, labels, None): `size` passages of `length` from anywhere in one long text."""
    ids = np.asarray(ids)
    if len(ids) < length:
        raise DataError(f"the text has {len(ids)} tokens, and passages of {length} were asked for")
    while True:
        start = rng.integers(0, len(ids) - length + 1, size)
        own = ids[start[:, None] + np.arange(length)]
        yield own, own, None
