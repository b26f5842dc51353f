"""The table of methods: in the README, in the command, and as its paper has it."""

import json
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.methods.table import COLUMNS, markdown, rows, told
from minipeft.methods.unified import UNIFIED

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_readme_has_the_table_of_the_code():
    assert markdown() in README


@pytest.mark.parametrize("method", mp.METHODS.values())
def test_a_docstring_begins_with_equation_start_and_paper(method):
    equation, start, paper = told(method)
    assert equation and start and any(c.isdigit() for c in paper)


def test_the_command_shows_what_the_table_says_and_what_is_trained(base, capsys, run):
    assert run("methods", "--model", base, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    model = mp.load(base)
    assert [tuple(row[c] for c in COLUMNS) for row in report["methods"]] == [*rows()]
    for row in report["methods"]:
        if row["name"] == "probe":
            assert row["trained"] is None
            continue
        adaptation = mp.METHODS[row["name"]]().attach(model, np.random.default_rng(0))
        assert row["trained"] == sum(p.data.size for p in adaptation.parameters())
        assert row["share"] == row["trained"] / report["parameters"]
    assert [row["method"] for row in report["unified"]] == [d.method for d in UNIFIED]
    assert run("methods", "--model", base) == 0
    told = capsys.readouterr().out
    assert "lora" in told and "unified view" in told
