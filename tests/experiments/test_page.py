"""docs/claims.md is what the stored results say."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from minipeft.experiments import experiments
from minipeft.experiments.claim import Claim, difference
from minipeft.experiments.page import anchor, page, plot
from minipeft.experiments.results import RESULTS, contrasts, read
from minipeft.experiments.study import FULL, fixed_row

DOCS = Path(__file__).parents[2] / "docs"
CLAIMS = [module.CLAIM for module in experiments().values()]


def test_the_page_is_made_from_the_stored_results():
    made = page(CLAIMS, [read(claim) for claim in CLAIMS])
    assert (DOCS / "claims.md").read_text(encoding="utf-8") == made, "run python docs/claims.py"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_stored_results_decide_the_claim(claim):
    report = read(claim)
    assert len(contrasts(claim, report["rows"])) == len(claim.contrasts)
    assert report["settings"]["lrs"] == [*FULL.lrs]
    assert (DOCS / "images" / "claims" / f"{claim.id}.svg").read_text().startswith("<?xml")


def test_there_are_no_other_results():
    assert {p.stem for p in RESULTS.iterdir()} == {claim.id for claim in CLAIMS}


CLAIM = Claim(
    "CL-0",
    "Prompts: how long?",
    "Long ones are better.",
    "Prompting notes, §1.1.1",
    "A paper.",
    (difference("long", "short", "test"), difference("long", "short", "loss", unit="nats")),
    "Two prompts.",
    units={"loss": "nats"},
    limits="Only two.",
)
ROWS = [
    fixed_row(
        "long", {"test": 0.9, "loss": 1.25}, {"test": 0.8, "loss": 1.5}, params=2000, lr=0.003
    ),
    fixed_row("short", {"test": 0.5, "loss": 1.0}, params=10, lr=0.03),
]
REPORT = {"claim": "CL-0", "settings": {"steps": 100}, "seconds": 120, "rows": ROWS}


def test_a_page_has_contrasts_scores_and_verdicts():
    text = page([CLAIM], [REPORT])
    assert "| [CL-0](#cl-0-prompts-how-long) Prompts: how long? | 0 of 2 | not shown |" in text
    assert "## CL-0 Prompts: how long?" in text and anchor(CLAIM) == "cl-0-prompts-how-long"
    assert "| long − short, test | +35.0 points | -28.5 to +98.5 | 2 of 2 | not shown |" in text
    assert "| long − short, loss | +0.375 nats | -1.213 to +1.963 | 2 of 2 | not shown |" in text
    assert "| long | 2,000 | 0.003 | 85.0 ± 63.5 | 1.375 ± 1.588 |" in text
    assert "| short | 10 | 0.03 | 50.0 | 1.000 |" in text
    assert "**Here.** Two prompts. 100 steps, unless stated otherwise." in text
    assert "**Limits.** Only two." in text and "**Verdict.** not shown" in text


@pytest.mark.parametrize("xlabel", ["", "virtual tokens"])
def test_a_plot_has_the_names_of_rows_and_scores(tmp_path, xlabel):
    rows = [row | {"x": x, "name": "prompt"} for row, x in zip(ROWS, (5, 50))] if xlabel else ROWS
    path = tmp_path / "plot.svg"
    plot(replace(CLAIM, xlabel=xlabel), REPORT | {"rows": rows}, path)
    texts = re.findall(r"<!-- (.*?) -->", path.read_text())
    assert {xlabel or "long", "CL-0"} <= {*texts}
