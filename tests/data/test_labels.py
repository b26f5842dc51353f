"""Labels: one rule for the names of classes, in every kind of file and for every head."""

import json

import pytest

from minipeft.data.files import read_examples
from minipeft.data.labels import class_name, fraction, match_classes

CLASSES = {
    "1": (1, "1", 1.0, "1.0", " 1 ", "1.00"),
    "0": (0, -0.0, "0", "-0.0", "-0"),
    "01": ("01",),
    "pos": ("pos", " pos", "pos\t"),
    "true": (True, "true", "True", "TRUE "),
    "false": (False, "false"),
    "100000000000000000000": (1e20, 10**20),
    "0.5": (0.5, "0.5"),
    "v1.0": ("v1.0",),
    None: (None, "", "  ", float("nan"), "NaN", "nan"),
}


@pytest.mark.parametrize("name", CLASSES)
def test_labels_that_mean_the_same_are_one_class(name):
    assert {class_name(label) for label in CLASSES[name]} == {name}


@pytest.mark.parametrize("label", [[1], {"a": 1}, [], float("inf")])
def test_what_is_not_a_name_is_refused(label):
    with pytest.raises(ValueError, match="a label must be a name or a number, not"):
        class_name(label)


def test_files_of_every_kind_agree(tmp_path):
    labels = [1, 0, 1.0, True, "pos"]
    rows = [{"text": "x", "label": label} for label in labels]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for suffix, mark in {"csv": ",", "tsv": "\t"}.items():
        lines = [f"text{mark}label", *(f"x{mark}{label} " for label in labels)]
        (tmp_path / f"a.{suffix}").write_text("\n".join(lines))
    names = [("x", name) for name in ("1", "0", "1", "true", "pos")]
    for suffix in ("json", "jsonl", "csv", "tsv"):
        assert read_examples(tmp_path / f"a.{suffix}") == names


def test_numbers_that_are_not_whole_are_a_regression_only_if_all_labels_are_numbers():
    assert fraction(["1", "0.5", "-3"]) == "0.5" and fraction(["1", "2e-1"]) == "2e-1"
    assert fraction(["1", "2", "3e2"]) is fraction(["0.5", "unknown"]) is fraction([]) is None


def test_labels_are_names_of_classes_or_else_their_numbers():
    namings = [["no", "yes", "1"], ["0", "1", "2"]]
    assert match_classes(["yes", "1"], namings) == match_classes([], namings) == namings[0]
    assert match_classes(["1", "0"], namings) == namings[1]
    assert match_classes(["3"], namings) is match_classes(["yes", "0"], namings) is None
