"""The results that pages show: made anew by one command, and the same in all pages."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.methods import KINDS, method
from minipeft.tasks.builtin import TASKS
from tests.support.reports import make_report

ROOT = Path(__file__).parents[2]
PICTURE = '<img src="images/comparison-light.svg">\n'
METHODS = (
    f"Before.\n\n<!-- table of methods -->\nold\n<!-- end of table -->\n{PICTURE}\nAfter: é.\n"
)
TASK_TABLE = "Before.\n<!-- table of tasks -->\n<!-- end of table -->\nAfter.\n"


@pytest.fixture(scope="module")
def results():
    """The program docs/results.py, as a module."""
    spec = importlib.util.spec_from_file_location("results", ROOT / "docs" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tmp_path):
    (tmp_path / "images").mkdir()
    return tmp_path / "page.md"


def store(folder, **changes):
    """Write a report as `minipeft compare --out` does; return its folder."""
    folder.mkdir()
    (folder / "compare.json").write_text(json.dumps(make_report(["lora", "full"], **changes)))
    return folder


def lines_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


# -- the command


def test_the_table_of_methods_and_its_picture_are_made_anew(results, page, tmp_path):
    page.write_text(METHODS, encoding="utf-8")
    folder = store(tmp_path / "sentiment")
    results.main([str(page), "--from", str(folder)])
    first = page.read_text(encoding="utf-8")
    titles, _, *body = lines_of(first)
    assert titles == ["method", "trained params", "test %", "OOD %", "forgets", "lr"]
    assert body[2] == ["lora*", "256", "70.0 ± 1.0", "65.0 ± 1.0", "0.00", "0.005"]
    assert "deviation of 3 seeds, after 40 steps with batches of 8.\n<!-- end of table" in first
    assert first.startswith("Before.\n\n<!-- table of methods -->\n| method |")
    assert first.endswith(f"\n<!-- end of table -->\n{PICTURE}\nAfter: é.\n") and "old" not in first
    picture = (tmp_path / "images" / "comparison-light.svg").read_bytes()
    assert picture.startswith(b"<?xml") and not (tmp_path / "images/comparison-dark.svg").exists()
    results.main([str(page), "--from", str(folder)])
    assert page.read_text(encoding="utf-8") == first


def test_the_table_of_tasks_has_a_line_for_each_comparison(results, page, tmp_path):
    page.write_text(TASK_TABLE)
    folders = [store(tmp_path / task, task=task) for task in reversed(TASKS)]
    plan = make_report()["plan"] | {"steps": 4000}
    folders.insert(0, store(tmp_path / "long", task="nli", plan=plan))
    results.main([str(page), "--from", *map(str, folders)])
    _, _, *body = lines_of(page.read_text())
    steps = [(row[0], row[1]) for row in body]
    assert steps[:3] == [
        ("`sentiment`, accuracy", "40"),
        ("`nli`, accuracy", "40"),
        ("`nli`, accuracy", "4,000"),
    ]
    assert body[0][2:] == [
        "50.0 / 50.0",
        "54.0 / 54.0 (untrained base)",
        "70.0 / 65.0*",
        "71.0 / 66.0",
        "71.0 (full)",
        "66.0 (full)",
        "100.0 / 100.0",
    ]


def test_without_stored_comparisons_they_are_run(results, page, monkeypatch):
    page.write_text(TASK_TABLE)
    run = []

    def compare(task):
        run.append(task)
        return make_report(["lora", "full"], task=task)

    monkeypatch.setattr(results, "compared", compare)
    results.main([str(page)])
    assert run == [*TASKS] and len(lines_of(page.read_text())) == 2 + len(TASKS)


@pytest.mark.parametrize(
    "text, task, message",
    [
        (
            "no marker",
            "sentiment",
            "page.md needs a line <!-- table of methods --> or <!-- table of tasks -->, and below "
            "it a line <!-- end of table -->",
        ),
        ("<!-- table of tasks -->\nno end", "nli", "below it a line <!-- end of table -->"),
        (METHODS, "nli", "no folder has a comparison on sentiment"),
        (TASK_TABLE, "nli", "no folder has a comparison on qa, sentiment, style, summary, table, "),
    ],
)
def test_what_is_missing_is_an_error_and_nothing_is_written(
    results, page, tmp_path, text, task, message
):
    page.write_text(text)
    folder = store(tmp_path / "folder", task=task)
    with pytest.raises(SystemExit, match=re.escape(message)):
        results.main([str(page), "--from", str(folder)])
    assert page.read_text() == text and not [*(tmp_path / "images").iterdir()]


def test_a_report_that_cannot_be_read_is_an_error(results, page, tmp_path):
    page.write_text(METHODS)
    with pytest.raises(SystemExit, match="nowhere has no report of a comparison: .*No such file"):
        results.main([str(page), "--from", str(tmp_path / "nowhere")])
    report = make_report(["lora"])
    del report["results"][0]["peak_bytes"]
    (tmp_path / "compare.json").write_text(json.dumps(report))
    with pytest.raises(SystemExit, match="no field 'peak_bytes': compare again"):
        results.main([str(page), "--from", str(tmp_path)])
    assert page.read_text() == METHODS


# -- the pages


@pytest.fixture(scope="module")
def readme():
    """The rows of the README's table of results, by method."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("<!-- table of methods -->\n")[2].partition("<!-- end of table")[0]
    return {row[0].rstrip("*"): row for row in lines_of(table)}


def test_the_readme_has_each_method_and_how_many_parameters_it_trains(readme):
    assert [name for name in readme if name in mp.METHODS] == KINDS
    model, rng = mp.Classifier(mp.load(), 2), np.random.default_rng(0)
    for name in KINDS:
        adaptation = method(name).attach(model, rng)
        trained = sum(p.data.size for p in adaptation.parameters())
        head = 0 if adaptation.adapts("score") else model.score.W.data.size
        assert readme[name][1] == f"{trained + head:,}"


def test_the_pages_have_the_same_results_on_sentiment(readme):
    text = (ROOT / "minipeft" / "world" / "README.md").read_text(encoding="utf-8")
    rows = [row for row in lines_of(text) if row[0].startswith("`sentiment`,")]
    both = lambda name: " / ".join(cell.split(" ")[0] for cell in readme[name][2:4])
    assert both("lora") in {row[4].rstrip("*") for row in rows}
    assert both("full") in {row[5].rstrip("*") for row in rows}
    assert both("majority class") == rows[0][2] and both("ceiling") == rows[0][8]
