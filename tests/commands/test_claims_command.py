"""minipeft claims: the verdicts that are stored, and a claim that is measured."""

import json

import pytest

from minipeft.experiments import experiments
from minipeft.experiments.results import read
from minipeft.experiments.study import Study, fixed_row

VERDICTS = {"shown", "shown in part", "not shown", "contradicted in part", "contradicted"}
VERDICTS |= {"shown in part, contradicted in part"}


@pytest.fixture
def no_training(monkeypatch):
    """Replace the training of a row by scores that say what would be trained."""

    def row(study, name, trial, x=None, steps=None, lrs=None):
        study.show(name, 1, 2)
        scores = [
            {"test": 0.5 + 0.1 * len(name) / 20 + 0.001 * seed, "ood": 0.5}
            for seed in range(study.settings.seeds)
        ]
        return fixed_row(name, *scores, lr=study.settings.lrs[0], params=7)

    monkeypatch.setattr(Study, "row", row)


def test_stored_verdicts_are_shown(run, capsys):
    assert run("claims", "--json") == 0
    report = json.loads(capsys.readouterr().out)["claims"]
    assert [claim["claim"] for claim in report] == [*experiments()]
    assert {claim["verdict"] for claim in report} <= VERDICTS | {"not measured"}
    assert run("claims") == 0
    out = capsys.readouterr().out
    assert all(f"{claim['claim']} " in out for claim in report)


def test_a_claim_is_measured_and_stored(run, capsys, tmp_path, no_training):
    assert run("claims", "cl-2", "--quick", "--out", tmp_path / "a" / "b", "--json") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["settings"]["seeds"] == 2 and "quick: two seeds" in err
    assert "uniform: test 53.6 ± 0.6 %, ood 50.0 ± 0.0 %, lr 0.0003" in err
    assert [c["text"] for c in report["contrasts"]][0] == "vocabulary − uniform, test"
    assert report["contrasts"][0]["mean"] == pytest.approx(0.015)
    claim = experiments()["CL-2"].CLAIM
    assert read(claim, tmp_path / "a" / "b")["rows"] == report["rows"]
    assert run("claims", "CL-2") == 0
    out, err = capsys.readouterr()
    assert f"CL-2 {claim.title}: {report['verdict']}, after " in " ".join(out.split())
    assert "quick" not in err and "5 of 5" in out


@pytest.mark.parametrize(
    "args, message",
    [
        (("CL-99",), "no claim is called 'CL-99'"),
        (("CL2",), "did you mean CL-2?"),
        (("CL-5", "--data", "nowhere"), "--data nowhere: there is no such folder"),
    ],
)
def test_wrong_flags_are_refused(run, args, message, capsys):
    assert run("claims", *args) != 0 and message in " ".join(capsys.readouterr().err.split())
