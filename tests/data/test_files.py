"""Files of examples and of text; an error names the file, the line and what was expected."""

import csv
import json

import pytest

from minipeft.data.files import DataError, holds_examples, read_examples, read_prose, read_text

EXAMPLES = [("a fine, warm place", "good"), ('it was "cold"', "bad"), ("zwölf Äpfel", "good")]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".CSV", ".array"])
def test_every_format_gives_the_same_examples(tmp_path, suffix):
    if suffix == ".array":
        rows = [{"text": text, "label": label} for text, label in EXAMPLES]
        lines, suffix = [json.dumps(rows, indent=2)], ".json"
    elif suffix.endswith(("json", "jsonl")):
        lines = [json.dumps({"text": text, "label": label}) for text, label in EXAMPLES]
    elif suffix.lower() == ".csv":
        quoted = ['"' + text.replace('"', '""') + '"' for text, _ in EXAMPLES]
        lines = ["label,text"] + [f"{y},{x}" for x, (_, y) in zip(quoted, EXAMPLES)]
    else:
        lines = ["label\ttext"] + [f"{y}\t{text}" for text, y in EXAMPLES]
    path = write(tmp_path / f"data{suffix}", "\n".join(lines) + "\n")
    assert holds_examples(path) and read_examples(path) == EXAMPLES
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # as Windows does
    assert read_examples(path) == EXAMPLES


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "x"}', "a.jsonl:2: no value .* 'label'"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text', "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1, 2]", "a.jsonl:1: an example must be an object, .* not 1"),
        ("a.jsonl", '{"text": 5, "label": 1}', "a.jsonl:1: 'text' must be a text, not 5"),
        ("a.jsonl", r'{"text": "\ud83d", "label": 1}', "a.jsonl:1: 'text' must be a text"),
        ("a.jsonl", " \n \n", "the file is empty"),
        ("a.csv", "text,label\nx,1\ny\n", "a.csv:3: a row must have 2 columns"),
        ("a.csv", "text,label\nx,1,2\n", "a.csv:2: a row must have 2 columns"),
        ("a.csv", "text,label\n,1\n", "a.csv:2: no value for the column 'text'"),
        ("a.csv", "sentence,label\nx,1\n", "columns: sentence, label"),
        ("a.csv", "text,label\n", "the file has no examples"),
        ("a.csv", 'text,label\n"x,1\n', "a.csv:2: a quote is not closed"),
        ("a.csv", 'text,label\n"x"y,1\n', "a.csv:2: a quote is not closed, or has text after it"),
        ("a.csv", 'text,label\n"x\ny",1\nz\n', "a.csv:4: a row must have 2 columns"),
        ("a.tsv", 'text\tlabel\n"x"\t1\n"y\n', "a.tsv:3: a row must have 2 columns"),
        ("a.csv", "text,label,text\nx,1,y\n", "a.csv:1: 'text' is there twice"),
        ("a.jsonl", '{"label": 1, "text": "x", "label": 2}', "a.jsonl:1: 'label' is there twice"),
        (
            "a.json",
            '[{"text": "x", "label": 1},\n{"a": {"b": 1, "b": 2}}]',
            "a.json:2: 'b' is there",
        ),
        ("a.json", '[{"text": "x", "label": 1}\n{', "a.json:1: not JSON: a comma or ] must follow"),
        ("a.json", '[\n\n{"text": "x",\n"label": 1, }]', "a.json:4: not JSON"),
        ("a.json", '{"data": []}', "a.json:1: no value for the column 'text'; columns: data"),
        ("a.json", "[]", "a.json: the file has no examples"),
        (
            "a.json",
            '{\n"text": "x"}',
            "a.json:1: not JSON: .*; write one object a line, or an array",
        ),
        ("a.json", "[" * 100_000, "a.json:1: "),
        ("a.jsonl", f'{{"text": "x", "label": {"1" * 5000}}}', "a.jsonl:1: "),
        ("a.jsonl", '{"text": "x", "label": [1]}', "a.jsonl:1: 'label': .* not \\[1\\]"),
        (
            "a.jsonl",
            '{"text": "x", "label": {"a": 1}}',
            "a.jsonl:1: 'label': a label must be a name",
        ),
        ("a.jsonl", '{"text": "x", "label": NaN}', "a.jsonl:1: no value for the column 'label'"),
        ("a.jsonl", '{"text": "x", "label": Infinity}', "a.jsonl:1: 'label': a label must be"),
        ("a.jsonl", '{"text": "x", "label": null}', "a.jsonl:1: no value for the column 'label'"),
        ("a.csv", "text,label\nx, \n", "a.csv:2: no value for the column 'label'"),
        ("a.csv", "text,label\nx,1\ny,0.5\n", "a.csv:3: the label 0.5 is not whole: regression"),
        ("a.jsonl", '{"text": "x", "label": 0.25}', "a.jsonl:1: the label 0.25 .*num_labels=1"),
        ("a.csv", "text,label\nx\0y,1\n", "it holds NUL"),
        ("a.parquet", "x", "does not hold examples: examples end in .jsonl, .ndjson, .json, .csv"),
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


@pytest.mark.parametrize("name", ["a.txt", "a.MD", "a.rst", "README", ".hidden", "v1.2.txt"])
def test_a_text_is_known_by_its_ending(tmp_path, name):
    assert not holds_examples(write(tmp_path / name, "a text"))


@pytest.mark.parametrize(
    "name, message",
    [
        ("a.parquet", "the ending '.parquet' is unknown: examples end in .jsonl"),
        ("a.tsv.gz", "the ending '.gz' is unknown"),
        ("a.xlsx", "the ending '.xlsx' is unknown"),
        ("a.jsonl.txt", "a.jsonl.txt ends in .jsonl.txt: rename it"),
        ("folder.csv", "folder.csv is a folder, not a file"),
        ("none.parquet", "none.parquet: no such file"),
    ],
)
def test_a_file_of_an_unknown_kind_is_refused(tmp_path, name, message):
    if name == "folder.csv":
        (tmp_path / name).mkdir()
    elif name != "none.parquet":
        write(tmp_path / name, "x")
    with pytest.raises(DataError, match=message):
        holds_examples(tmp_path / name)


def test_examples_in_a_file_of_text_are_refused(tmp_path):
    lines = '\n{"text": "x", "label": 1}\n'
    for text in (lines, f"[{lines}]", '[{"text": "x"}'):
        with pytest.raises(DataError, match="a.txt holds examples in JSON: rename it to .jsonl"):
            read_prose(write(tmp_path / "a.txt", text))
    for first in ("text,label", 'id\t"label"\ttext', "label, text, id"):
        with pytest.raises(DataError, match="a.txt holds a table of examples: rename it"):
            read_prose(write(tmp_path / "a.txt", f"{first}\nx"))
    for first in ("sentence\tlabel", "id,text,stars", "text;label"):  # one column, or other marks
        with pytest.raises(DataError, match="a.txt holds a table of examples: rename it"):
            read_prose(write(tmp_path / "a.txt", f"{first}\nx"))
    assert read_prose(write(tmp_path / "a.txt", "text,label"), ("a", "b")) == "text,label"
    for text in (
        "[1] See the notes.\n",
        "{x} is a text",
        "A text, a label.\n",
        "text, as it is",
        "[]",
    ):
        assert read_prose(write(tmp_path / "a.txt", text)) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_text_in_another_encoding_is_refused(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("a short text".encode(encoding))
    with pytest.raises(DataError, match="is in UTF-16: save it in UTF-8|not readable as UTF-8"):
        read_text(tmp_path / "a.txt")


def test_fields_may_be_long_and_the_limit_of_csv_does_not_change(tmp_path):
    limit, long = csv.field_size_limit(), 'a "long" text, ' * 20_000
    for suffix, delimiter in {".csv": ",", ".tsv": "\t"}.items():
        path = tmp_path / f"a{suffix}"
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([("text", "label"), (long, "x")])
        assert read_examples(path) == [(long, "x")]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("columns", [("text", "label"), ("label", "text")])
@pytest.mark.parametrize("suffix, delimiter", [(".csv", ","), (".tsv", "\t")])
def test_what_csv_writes_is_read(tmp_path, suffix, delimiter, columns):
    texts = ['a "quoted" word', '"', 'two\nlines, "so"', "a\ttab", 'ends in "quotes"', " x ", "a,b"]
    path = tmp_path / f"a{suffix}"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter)
        writer.writeheader()
        writer.writerows({"text": text, "label": i} for i, text in enumerate(texts))
    assert read_examples(path) == [(text, str(i)) for i, text in enumerate(texts)]


def test_two_columns_of_texts_are_a_pair(tmp_path):
    path = write(tmp_path / "a.csv", "premise,label,hypothesis\na,1,b\n")
    assert read_examples(path, ("premise", "hypothesis")) == [(("a", "b"), "1")]
    assert read_examples(path, ["premise"]) == [("a", "1")]
    with pytest.raises(DataError, match="a.csv:2: no value for the column 'other'"):
        read_examples(path, ("premise", "other"))
    for columns in ((), ("premise", "label", "hypothesis")):
        with pytest.raises(ValueError, match=f"or two for pairs; got {len(columns)}"):
            read_examples(path, columns)


def test_columns_are_different_and_named(tmp_path):
    path = write(tmp_path / "a.csv", "Text,label\nx,1\n")
    with pytest.raises(DataError, match="columns: Text, label .name yours by --text-column"):
        read_examples(path)
    for columns in [(("Text", "Text"), "label"), ("label", "label")]:
        with pytest.raises(ValueError, match="columns must differ"):
            read_examples(path, *columns)
