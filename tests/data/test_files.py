"""Files of examples and of text; an error names the file, the line and what was expected."""

import json

import pytest

from minipeft.data.files import DataError, read_examples, read_text

EXAMPLES = [("a fine, warm place", "good"), ('it was "cold"', "bad"), ("zwölf Äpfel", "good")]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_every_format_gives_the_same_examples(tmp_path, suffix):
    if suffix == ".jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in EXAMPLES]
    elif suffix == ".csv":
        quoted = ['"' + text.replace('"', '""') + '"' for text, _ in EXAMPLES]
        lines = ["label,text"] + [f"{y},{x}" for x, (_, y) in zip(quoted, EXAMPLES)]
    else:
        lines = ["label\ttext"] + [f"{y}\t{text}" for text, y in EXAMPLES]
    path = write(tmp_path / f"data{suffix}", "\n".join(lines) + "\n")
    assert read_examples(path) == EXAMPLES


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "x"}', "a.jsonl:2: no value .* 'label'"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text', "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1, 2]", "a.jsonl:1: a line must be an object"),
        ("a.jsonl", '{"text": 5, "label": 1}', "a.jsonl:1: 'text' must be a text, not 5"),
        ("a.jsonl", r'{"text": "\ud83d", "label": 1}', "a.jsonl:1: 'text' must be a text"),
        ("a.jsonl", " \n \n", "the file is empty"),
        ("a.csv", "text,label\nx,1\ny\n", "a.csv:3: a row must have 2 columns"),
        ("a.csv", "text,label\nx,1,2\n", "a.csv:2: a row must have 2 columns"),
        ("a.csv", "text,label\n,1\n", "a.csv:2: no value for the column 'text'"),
        ("a.csv", "sentence,label\nx,1\n", "columns: sentence, label"),
        ("a.csv", "text,label\n", "the file has no examples"),
        ("a.csv", f"text,label\n{'x' * 200_000},1\n", "field larger than"),
        ("a.parquet", "x", "'.parquet' must be one of .jsonl, .csv, .tsv"),
    ],
)
def test_an_unreadable_file_is_refused_with_its_line(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read_examples(write(tmp_path / name, text))


def test_a_label_that_is_not_needed_is_none(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "x"}\n{"text": "y", "label": 1}\n')
    assert read_examples(path, labels_needed=False) == [("x", None), ("y", "1")]


def test_a_missing_file_and_another_encoding_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="not readable as UTF-8"):
        read_text(tmp_path / "latin.txt")


def test_unicode_line_separators_and_open_quotes_do_not_split_lines(tmp_path):
    row = json.dumps({"text": "one\u2028two\x85three", "label": 1}, ensure_ascii=False)
    assert read_examples(write(tmp_path / "a.jsonl", "\ufeff" + row + "\n")) == [
        ("one\u2028two\x85three", "1")
    ]
    tsv = 'label\ttext\n1\t"an open quote\n0\tnext\n'
    assert read_examples(write(tmp_path / "a.tsv", tsv)) == [
        ('"an open quote', "1"),
        ("next", "0"),
    ]
