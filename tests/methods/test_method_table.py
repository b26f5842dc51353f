"""The table of methods: in the README, in the command, and in the docstrings."""

import json
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.methods.table import COLUMNS, docstring_parts, markdown, rows
from minipeft.methods.unified import UNIFIED

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_table_of_the_code():
    assert markdown() in README


@pytest.mark.parametrize("method", mp.METHODS.values())
def test_a_docstring_begins_with_equation_start_and_paper(method):
    equation, start, paper = docstring_parts(method)
    assert equation and start and any(c.isdigit() for c in paper)


def test_the_command_prints_the_table_and_what_each_method_trains(base, capsys, run):
    assert run("methods", "--model", base, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    model = mp.load(base)
    assert [tuple(row[c] for c in COLUMNS) for row in report["methods"]] == [*rows()]
    for row in report["methods"]:
        if row["name"] == "probe":
            assert row["trained_params"] is None
            continue
        adaptation = mp.METHODS[row["name"]]().attach(model, np.random.default_rng(0))
        assert row["trained_params"] == sum(p.data.size for p in adaptation.parameters())
        assert row["trained_share"] == row["trained_params"] / report["base_params"]
    assert [row["method"] for row in report["unified"]] == [d.method for d in UNIFIED]
    assert run("methods", "--model", base) == 0
    output = capsys.readouterr().out
    assert "lora" in output and "unified view" in output
