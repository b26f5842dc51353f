"""What long commands say of the time they take, and of the loss on the way."""

import json
import re

import pytest

from minipeft.commands.common import progress
from minipeft.commands.compare import Compare


@pytest.mark.parametrize(
    "flags, line",
    [
        ([], "generating 120,000 texts, then 3,000 training steps: about 12 minutes on two cores"),
        (["--family", "bert"], "then 10,000 training steps: about 13 minutes on two cores"),
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


@pytest.mark.parametrize(
    "flags, line",
    [
        ([], "7 methods, 35 training runs of 60 steps: about 2 minutes on two cores"),
        (["--long"], "7 methods, 49 training runs of 600 steps: about 16 minutes on two cores"),
        (
            ["--methods", "lora", "--seeds", "1", "--lrs", "0.1", "--steps", "1"],
            "1 method, 1 training run of 1 step: about 1 second on two cores",
        ),
    ],
)
def test_compare_says_how_long_it_takes_before_it_loads_anything(
    run, capsys, monkeypatch, flags, line
):
    def make_task(self):
        assert capsys.readouterr().err == f"{line}\n"
        raise MemoryError

    monkeypatch.setattr(Compare, "make_task", make_task)
    assert run("compare", *flags) == 4


def test_compare_says_how_much_time_is_left_after_each_method(run, base, tmp_path, capsys):
    rows = [{"text": f"{'ab'[i % 2]} {i}", "label": "xy"[i % 2]} for i in range(40)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    args = ["--methods", "lora", "bitfit", "--steps", "2", "--seeds", "1", "--lrs", "1e-3"]
    assert run("compare", "--model", base, "--data", tmp_path / "data.jsonl", *args) == 0
    first, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"lora done after \d+ seconds?, about \d+ seconds? left", first)
    assert re.fullmatch(r"bitfit done after \d+ seconds?", last)


def test_the_loss_of_a_training_is_shown(capsys, monkeypatch):
    seconds = iter(range(0, 10_000, 6))
    monkeypatch.setattr("minipeft.commands.common.time.monotonic", lambda: next(seconds))
    with progress("training", 2000) as bar:
        for t in range(1, 4):
            bar.show(t, loss=t / 2)
    assert capsys.readouterr().err == "training: 2 of 2,000, loss 1.000\n"
