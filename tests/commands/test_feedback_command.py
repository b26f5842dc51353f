"""minipeft feedback: its folder, its JSON, stopping and resuming."""

import json

import numpy as np
import pytest

import minipeft as mp
from minipeft import hf
from minipeft.feedback.ppo import PPO
from minipeft.tasks import feedback
from minipeft.world.feedback import splits

SHORT = "--sft-steps 2 --prompts 6 --reward-steps 2 --ppo-steps 1".split()


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    """A tiny base in place of the built-in one, few prompts and answers, and an empty folder."""
    model = mp.Decoder(mp.Config(2048, 16, layers=1, heads=2, length=256), np.random.default_rng(0))
    model.generation_config = {"eos_token_id": 0}
    monkeypatch.setattr(hf, "load", lambda name: model)
    monkeypatch.setattr(feedback, "splits", lambda seed, train: splits(seed, 16, 4, 8))
    for name, value in {"MAX_NEW_TOKENS": 6, "BATCH": 4, "MINIBATCH": 2, "DOCUMENTS": 40}.items():
        monkeypatch.setattr(feedback, name, value)
    monkeypatch.chdir(tmp_path)


def test_a_stopped_run_is_resumed_to_the_same_report(run, capsys, monkeypatch, tmp_path):
    assert run("feedback", *SHORT, "--out", "whole", "--json") in (None, 0)
    whole, note = capsys.readouterr()
    assert "PPO-ptx: reward" in note and "saved in whole" in note
    folder = tmp_path / "whole"
    assert {"feedback.json", "report.md", "sft", "ppo", "ppo-ptx", "ppo-beta-0"} <= {
        path.name for path in folder.iterdir()
    }
    assert not {"stages", "settings.json"} & {path.name for path in folder.iterdir()}

    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PPO, "step", stopped)
        assert run("feedback", *SHORT, "--out", "part", "--json") == 130
    so_far, note = capsys.readouterr()
    assert "--resume" in note and [*json.loads(so_far)["policies"]] == ["base", "few-shot", "sft"]
    assert run("feedback", *SHORT, "--out", "part", "--json", "--resume") in (None, 0)
    reports = [json.loads(text) for text in (whole, capsys.readouterr().out)]
    for report in reports:
        report.pop("seconds")
    assert reports[0] == reports[1]
    stored = json.loads((tmp_path / "part" / "feedback.json").read_text())
    assert stored["policies"] == reports[1]["policies"]


def test_another_plan_is_not_resumed(run, capsys, monkeypatch, tmp_path):
    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(PPO, "step", stopped)
    assert run("feedback", *SHORT, "--out", "new") == 130
    assert "SFT" in capsys.readouterr().out  # the report so far
    assert run("feedback", *SHORT, "--out", "new") == 3
    assert "--resume" in capsys.readouterr().err
    assert run("feedback", *SHORT, "--noise", "0.2", "--out", "new", "--resume") == 3
    assert "--noise was 0.1, and here it is 0.2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--ppo-steps", "0"], "--ppo-steps must be at least 1, not 0"),
        (["--prompts", "1001"], "--prompts must be at most 1,000"),
        (["--beta", "-1"], "--beta must be at least 0, not -1"),
        (["--noise", "0.7"], "0.5"),
        (["--resume"], "--out FOLDER"),
    ],
)
def test_flags_out_of_range_are_refused(run, capsys, args, words):
    assert run("feedback", *args) == 2
    assert words in capsys.readouterr().err
