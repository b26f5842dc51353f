"""What long commands say of the time they take, and of the loss on the way."""

import json
import re
from types import SimpleNamespace

import pytest

from minipeft.commands import compare
from minipeft.commands.common import progress
from minipeft.commands.compare import Compare
from minipeft.tasks.compare import Comparison


@pytest.mark.parametrize(
    "flags, line",
    [
        ([], "generating 120,000 texts, then 3,000 training steps: about 12 minutes on two cores"),
        (["--family", "bert"], "then 10,000 training steps: about 13 minutes on two cores"),
        (["--family", "t5"], "then 2,000 training steps: about 6 minutes on two cores"),
        (["--steps", "1"], "then 1 training step: about 60 seconds on two cores"),
    ],
)
def test_pretrain_says_how_long_it_takes_before_it_starts(
    run, capsys, monkeypatch, tmp_path, flags, line
):
    printed = []

    def pretrain(*args):
        printed.append(capsys.readouterr().err)
        return 1.0

    monkeypatch.setattr("minipeft.world.pretrain.pretrain", pretrain)
    assert run("pretrain", "--out", tmp_path / "new", *flags) == 0
    assert line in printed[0]


@pytest.fixture
def data(tmp_path):
    rows = [{"text": f"{'ab'[i % 2]} {i}", "label": "xy"[i % 2]} for i in range(40)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "--data", tmp_path / "data.jsonl", "--methods", "lora", "bitfit"


@pytest.mark.parametrize(
    "flags, line",
    [
        ([], "4 training runs of 300 steps, after 6 pilot runs of 60 steps"),
        (["--long"], "8 training runs of 3,000 steps, after 6 pilot runs of 60 steps"),
        (["--steps", "1", "--seeds", "1", "--lrs", "0.1"], "2 training runs of 1 step"),
        (["--pilot-steps", "0"], "4 training runs of 300 steps"),
    ],
)
def test_compare_says_how_long_it_takes_before_it_trains(
    run, base, data, capsys, monkeypatch, flags, line
):
    def stopped(self, methods, earlier):
        raise MemoryError

    monkeypatch.setattr(Comparison, "run", stopped)
    assert run("compare", "--model", base, *data, *flags) == 4
    estimate = capsys.readouterr().err.splitlines()[0]
    assert re.fullmatch(rf"{line}: about \d+ \w+ on this machine", estimate)


@pytest.mark.parametrize("flags, most", [(["--budget", "5"], 10), (["--model", "decoder"], 900)])
def test_a_budget_is_about_the_estimate(run, base, data, capsys, monkeypatch, flags, most):
    """A plan of a million steps is cut, by default for a base or examples of one's own."""
    monkeypatch.setattr(Comparison, "run", lambda self, methods, earlier: iter([{}]))
    monkeypatch.setattr(compare, "last_row", lambda report: "")
    monkeypatch.setattr(Compare, "show", lambda self, report: None)
    assert run("compare", "--model", base, *data, "--steps", "1000000", *flags) == 0
    line = capsys.readouterr().err.splitlines()[0]
    number, unit = re.search(r"about (\d+) (\w+) on this machine", line).groups()
    assert most / 4 < int(number) * (60 if "minute" in unit else 1) < most


def test_compare_says_how_much_time_is_left_after_each_method(run, base, data, capsys):
    args = ["--steps", "2", "--seeds", "1", "--lrs", "1e-3"]
    assert run("compare", "--model", base, *data, *args) == 0
    estimate, majority, first, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"majority class: test \d+\.\d %, after \d+ seconds?", majority)
    assert re.fullmatch(r"lora: test \d+\.\d %, after \d+ seconds?(, about .* left)?", first)
    assert re.fullmatch(r"bitfit: test \d+\.\d %, after \d+ seconds?", last)


def test_the_loss_of_a_training_is_shown(capsys, monkeypatch):
    seconds = iter(range(0, 10_000, 6))
    clock = SimpleNamespace(monotonic=lambda: next(seconds))  # other threads keep theirs
    monkeypatch.setattr("minipeft.commands.common.time", clock)
    with progress("training", 2000) as bar:
        for t in range(1, 4):
            bar.show(t, loss=t / 2)
    assert capsys.readouterr().err == "training: 2 of 2,000, loss 1.000\n"
