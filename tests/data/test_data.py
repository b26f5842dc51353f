"""Files that hold examples, and files that do not: each with one error that says where."""

import json
from itertools import islice

import numpy as np
import pytest
from minipeft.data.files.batches import pad, passages, shuffled
from minipeft.data.files.files import DataError, read_examples, read_text

ROWS = [("a fine, warm place", "good"), ('it was "cold"', "bad"), ("zwölf Äpfel", "good")]


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".tsv"])
def test_every_format_gives_the_same_examples(tmp_path, ending):
    if ending == ".jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    elif ending == ".csv":
        quoted = ['"' + text.replace('"', '""') + '"' for text, _ in ROWS]
        lines = ["label,text"] + [f"{y},{x}" for x, (_, y) in zip(quoted, ROWS)]
    else:
        lines = ["label\ttext"] + [f"{y}\t{text}" for text, y in ROWS]
    path = written(tmp_path / f"data{ending}", "\n".join(lines) + "\n")
    assert read_examples(path) == ROWS


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "x"}', "a.jsonl:2: no value for 'label'"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text', "a.jsonl:2: not JSON"),
        ("a.jsonl", "[1, 2]", "a.jsonl:1: a line is an object"),
        ("a.jsonl", '{"text": 5, "label": 1}', "a.jsonl:1: 'text' is no text: 5"),
        ("a.jsonl", r'{"text": "\ud83d", "label": 1}', "a.jsonl:1: 'text' is no text"),
        ("a.jsonl", " \n \n", "the file is empty"),
        ("a.csv", "text,label\nx,1\ny\n", "a.csv:3: not 2 columns"),
        ("a.csv", "text,label\nx,1,2\n", "a.csv:2: not 2 columns"),
        ("a.csv", "text,label\n,1\n", "a.csv:2: no value for 'text'"),
        ("a.csv", "sentence,label\nx,1\n", "there is sentence, label"),
        ("a.csv", "text,label\n", "no examples"),
        ("a.csv", f"text,label\n{'x' * 200_000},1\n", "field larger than"),
        ("a.parquet", "x", "'.parquet' is none of .jsonl, .csv, .tsv"),
    ],
)
def test_what_is_no_data_is_told_with_its_line(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read_examples(written(tmp_path / name, text))


def test_files_that_are_not_there_or_not_text(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="not readable as UTF-8"):
        read_text(tmp_path / "latin.txt")


def test_padding_is_masked():
    ids, mask = pad([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


def test_an_epoch_holds_every_example_once():
    stream = shuffled(range(12), 4, np.random.default_rng(0))
    for _ in range(2):
        assert sorted(i for some in islice(stream, 3) for i in some) == list(range(12))


def test_a_batch_has_texts_of_about_one_length():
    rng = np.random.default_rng(0)
    texts = ["x" * n for n in rng.integers(1, 50, 320)]
    batches = list(islice(shuffled(texts, 10, rng, len), 32))
    spans = [max(map(len, texts)) - min(map(len, texts)) for texts in batches]
    assert max(spans) <= 15 and sorted(sum(batches, [])) == sorted(texts)
    first = [len(texts[0]) for texts in batches]
    for pool in (first[:8], first[8:16], first[16:24], first[24:]):
        assert pool != sorted(pool)  # neither the short ones first nor the long ones


@pytest.mark.parametrize("n", [45, 100, 135, 200])
def test_long_and_short_texts_come_as_often_and_meet_others(n):
    batches = list(islice(shuffled(range(n), 10, np.random.default_rng(0), lambda i: i), 50 * n))
    assert {len(some) for some in batches} == {10}
    times = np.bincount(np.ravel(batches), minlength=n)
    assert times.min() > 0.9 * times.mean()
    beside = [others for others in batches if 0 in others]
    assert len({i for others in beside for i in others}) > 0.3 * n
    assert len({frozenset(some) for some in batches}) > 0.9 * len(batches)


def test_fewer_examples_than_a_batch_are_one_batch():
    stream = shuffled("ab", 4, np.random.default_rng(0))
    assert [sorted(some) for some in islice(stream, 3)] == [["a", "b"]] * 3


def test_passages_are_pieces_of_the_text():
    ids, labels, mask = next(passages(np.arange(50), 6, 8, np.random.default_rng(0)))
    assert ids.shape == (6, 8) and mask is None and ids is labels
    assert (np.diff(ids) == 1).all() and ids.max() < 50
    ids, _, _ = next(passages(np.arange(9), 50, 8, np.random.default_rng(0)))
    assert set(ids[:, 0].tolist()) == {0, 1}
    with pytest.raises(DataError, match="has 7 tokens, and passages of 8"):
        next(passages(np.arange(7), 6, 8, np.random.default_rng(0)))


def test_marks_and_odd_characters_do_not_part_lines(tmp_path):
    row = json.dumps({"text": "one\u2028two\x85three", "label": 1}, ensure_ascii=False)
    assert read_examples(written(tmp_path / "a.jsonl", "\ufeff" + row + "\n")) == [
        ("one\u2028two\x85three", "1")
    ]
    tsv = 'label\ttext\n1\t"an open quote\n0\tnext\n'
    assert read_examples(written(tmp_path / "a.tsv", tsv)) == [
        ('"an open quote', "1"),
        ("next", "0"),
    ]
