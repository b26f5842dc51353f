"""Rows of a table in a text: CSV, TSV, or JSON objects, with the line in which each row begins."""

import json
import re
from collections import Counter
from collections.abc import Iterator

SPACE, COMMA, END = map(re.compile, (r"\s*", r"\s*,\s*", r"\s*\]\s*\Z"))
# a field of a table and what ends it; quotes around a field are left out, "" in it is a quote
CSV = re.compile(r'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",\n][^,\n]*|))(,|\n|\Z)')
TSV = re.compile(r'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"\t\n][^\t\n]*|))(\t|\n|\Z)')
TSV_LINE = re.compile(r'(?:"((?:[^"\n]|"")*+)"(?=[\t\n]|\Z)|([^\t\n]*))(\t|\n|\Z)')


class RowError(ValueError):
    """What is wrong with a table, and in which line."""

    def __init__(self, line: int, message: str):
        super().__init__(message)
        self.line = line


def csv_rows(text: str) -> Iterator[tuple[int, dict]]:
    """Yield (line, {column: field}) of a table with commas; the first line has the columns."""
    return table_rows(text, CSV)


def tsv_rows(text: str) -> list[tuple[int, dict]]:
    """Return [(line, {column: field}), ...] of a table with tabs; the first line has the columns.

    A field may be in quotes.  A quote that does not end in its line is part of the text, unless the
    lines then do not all have the same number of fields: quotes may enclose line breaks, too.
    """
    try:
        return [*table_rows(text, TSV_LINE)]
    except RowError as error:
        try:
            return [*table_rows(text, TSV)]
        except RowError:
            raise error from None


def table_rows(text: str, field: re.Pattern) -> Iterator[tuple[int, dict]]:
    """Yield (line, {column: field}) of a table; `field` matches a field and what ends it."""
    columns, line, at = None, 1, 0
    while at < len(text):
        row, begin, end = [], line, None
        while end not in ("\n", ""):
            if not (match := field.match(text, at)):
                raise RowError(line, 'a quote is not closed, or has text after it; write "" for "')
            quoted, plain, end = match.groups()
            row.append(plain if quoted is None else quoted.replace('""', '"'))
            line, at = line + match[0].count("\n"), match.end()
        if row == [""]:
            continue
        if columns is None:
            columns = [name.strip() for name in row]
            if message := repeated([*filter(None, columns)]):
                raise RowError(begin, message)
        elif len(row) != len(columns):
            raise RowError(begin, f"a row must have {len(columns)} columns, as line 1 does")
        else:
            yield begin, dict(zip(columns, row))


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
