"""The page of the results, and the file that it is made from."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__, results
from benchmarks.parts import PARTS
from benchmarks.report import page
from benchmarks.targets import Target

FOLDER = Path(__file__).parents[2] / "benchmarks"
ENVIRONMENT = {"processor": "a processor", "cores": 2, "python": "3.11", "numpy": "2.4"}


def training(method="lora", labels="everywhere", size="tiny", **seconds):
    case = {"size": size, "method": method, "labels": labels}
    return {"case": case, "attention": "sdpa", "loss": 1.0, "seconds": seconds, "failed": {}}


def test_the_page_is_that_of_the_stored_results():
    if (FOLDER / "results.json").exists():
        text = (FOLDER / "RESULTS.md").read_text(encoding="utf-8")
        assert text == page(results.read(FOLDER / "results.json"))


def test_a_row_of_the_table_of_training_steps():
    cell = training(
        minipeft=[0.001, 0.002, 0.003], stock=[0.004], tuned=[0.003], **{"products, split": [0.001]}
    )
    cell["failed"] = {"jax": "no JAX"}
    peak = {"case": {"size": "tiny", "method": "lora"}, "peak": {"minipeft": 2**20, "stock": 2**21}}
    text = page({"training": [cell], "memory": [peak], "environment": ENVIRONMENT})
    row = "| lora | 2 [1.5–2.5] | 4 [4–4] | 3 [3–3] |  | n/a | 2.00 | 1.50 | 0.50 | 1 | 2 | 0.50 |"
    assert row in text.splitlines()
    assert "Measured on a processor with 2 cores; python 3.11, numpy 2.4." in text
    assert "| ≥ 1.5 | 2 (tiny lora everywhere) | 1 of 1 | yes |" in text
    assert "| ≤ 0.35 | 0.5 (tiny lora) | 0 of 1 | no |" in text


def test_the_faster_products_count():
    ways = {"products, split": [0.3], "products, whole": [0.1]}
    text = page({"training": [training(minipeft=[0.2], **ways)], "environment": ENVIRONMENT})
    assert "|  |  | 0.50 |" in text


@pytest.mark.parametrize(
    "bound, row",
    [
        ({"least": 1.5}, ["≥ 1.5", "1 (a)", "1 of 2", "no"]),
        ({"least": 1.0}, ["≥ 1", "1 (a)", "2 of 2", "yes"]),
        ({"most": 1.5}, ["≤ 1.5", "2 (b)", "1 of 2", "no"]),
        ({"most": 2.0}, ["≤ 2", "2 (b)", "2 of 2", "yes"]),
    ],
    ids=str,
)
def test_a_target_has_its_worst_figure(bound, row):
    assert Target("text", {"a": 1.0, "b": 2.0}, **bound).row() == ["text", *row]


def test_results_are_replaced_by_those_of_the_same_case(tmp_path):
    found, path = {}, tmp_path / "results.json"
    for method, seconds in (("lora", 1.0), ("full", 2.0), ("lora", 3.0)):
        results.store(found, "training", training(method, minipeft=[seconds]))
    assert [c["seconds"]["minipeft"] for c in found["training"]] == [[3.0], [2.0]]
    results.write(path, found | {"environment": ENVIRONMENT})
    assert (
        results.read(path) == json.loads(path.read_text()) == found | {"environment": ENVIRONMENT}
    )
    assert len(path.read_text().splitlines()) == 7
    assert results.read(tmp_path / "none.json") == {}


def test_the_line_of_a_cell():
    line = results.summary("training", training(minipeft=[0.001]) | {"failed": {"jax": "no JAX"}})
    assert line == "training tiny lora everywhere: minipeft 1 ms, jax: no JAX"


def test_the_help_has_at_most_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        __main__.parse(["--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and all(part in text for part in PARTS)


def test_only_the_page_is_made_with_report(tmp_path):
    path, made = tmp_path / "results.json", tmp_path / "page.md"
    results.write(path, {"training": [training(minipeft=[1.0])], "environment": ENVIRONMENT})
    __main__.main(__main__.parse(["--report", "--out", str(path), "--page", str(made)]))
    assert made.read_text(encoding="utf-8") == page(results.read(path))
