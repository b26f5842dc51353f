"""Rows of a table in a text: CSV, TSV, or JSON objects, with the line in which each row begins."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from .words import count

SPACE, COMMA, END = map(re.compile, (r"\s*", r"\s*,\s*", r"\s*\]\s*\Z"))


class RowError(ValueError):
    """What is wrong with a table, and in which line."""

    def __init__(self, line: int, message: str):
        super().__init__(message)
        self.line = line


def csv_rows(text: str) -> Iterator[tuple[int, dict]]:
    """Yield (line, {column: field}) of a table with commas; the first line has the columns."""
    return table_rows(fields(text, "excel"))


def tsv_rows(text: str) -> list[tuple[int, dict]]:
    """Return [(line, {column: field}), ...] of a table with tabs; the first line has the columns.

    A field may be in quotes.  In a line with a quote that is not closed, quotes are part of the
    text; if the lines then have different numbers of fields, quotes may enclose line breaks, too.
    """
    try:
        return [*table_rows(fields_of_lines(text))]
    except RowError as error:
        try:
            return [*table_rows(fields(text, "excel-tab"))]
        except RowError:
            raise error from None


def fields(text: str, dialect: str) -> list[tuple[int, list[str]]]:
    """Return [(line, fields), ...] of the rows of a table, by Python's csv; a field may be long."""
    limit = csv.field_size_limit(len(text))
    reader, rows, line = csv.reader(io.StringIO(text), dialect, strict=True), [], 1
    try:
        for row in reader:
            rows.append((line, row))
            line = reader.line_num + 1
    except csv.Error:
        raise RowError(
            line, 'a quote is not closed, or has text after it; write "" for "'
        ) from None
    finally:
        csv.field_size_limit(limit)
    return rows


def fields_of_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, fields) of each line of a table with tabs."""
    for line, content in enumerate(text.split("\n"), 1):
        try:
            yield from ((line, row) for _, row in fields(content, "excel-tab"))
        except RowError:
            yield line, content.split("\t")


def table_rows(rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, dict]]:
    """Yield (line, {column: field}) of (line, fields); the first row has the columns."""
    columns = None
    for line, row in rows:
        if not row:
            continue
        if columns is None:
            columns = [name.strip() for name in row]
            if message := repeated([*filter(None, columns)]):
                raise RowError(line, message)
        elif len(row) != len(columns):
            raise RowError(line, f"a row must have {count(len(columns), 'column')}, as line 1 does")
        else:
            yield line, dict(zip(columns, row))


def repeated(names: list[str]) -> str | None:
    """Return what is wrong with names of which one is there twice, or None."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    return twice and f"{twice!r} is there twice: give each column its own name"


def json_rows(text: str) -> Iterator[tuple[int, dict]]:
    """Yield (line, object) of one JSON object a line, or of an array of objects."""
    if text.lstrip().startswith("["):
        yield from array_rows(text)
        return
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            row, end = decode(content, SPACE.match(content).end(), line)
            if content[end:].strip():
                raise RowError(line, f"not JSON: {content[end:].strip()[:40]!r} after the object")
            yield line, row


def array_rows(text: str) -> Iterator[tuple[int, dict]]:
    """Yield (line, object) of a JSON array of objects."""
    at = text.index("[") + 1
    line, separator = 1 + text.count("\n", 0, at), SPACE
    while not END.match(text, at):
        if not (match := separator.match(text, at)):
            raise RowError(line, "not JSON: a comma or ] must follow the object that ends here")
        line += match[0].count("\n")
        row, end = decode(text, match.end(), line)
        yield line, row
        line, at, separator = line + text.count("\n", match.end(), end), end, COMMA


def decode(text: str, begin: int, line: int) -> tuple[dict, int]:
    """Return the JSON object that begins at an index of a text, in this line, and where it ends."""
    try:
        row, end = DECODER.raw_decode(text, begin)
    except json.JSONDecodeError as error:
        line += text.count("\n", begin, error.pos)
        hint = "write one object a line, or an array of objects"
        raise RowError(line, f"not JSON: {error.msg}; {hint}") from None
    except (ValueError, RecursionError) as error:  # as of a number with thousands of digits
        raise RowError(line, str(error)) from None
    if not isinstance(row, dict):
        raise RowError(line, f"an example must be an object, {{...}}, not {text[begin:end]:.40}")
    return row, end


def as_object(pairs: list[tuple]) -> dict:
    """Return pairs as an object; raise ValueError for a key that is there twice."""
    if message := repeated([name for name, _ in pairs]):
        raise ValueError(message)
    return dict(pairs)


DECODER = json.JSONDecoder(object_pairs_hook=as_object)
