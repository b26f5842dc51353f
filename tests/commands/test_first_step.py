"""train: which parameters get no gradient in step 1; and that finding this out changes nothing."""

import json

import pytest

import minipeft as mp
from minipeft.commands import train
from minipeft.commands.first_step import described, lines
from minipeft.inspection.gradients import Silent

SAYS = {  # method: what `train` says of a text, and of examples with a new head
    "lora": (
        "no gradient in step 1, as expected: A of 4 layers (B = 0)",
        "A of 4 layers (B, score.W = 0); B of 4 layers (score.W = 0)",
    ),
    "prefix --gate": (
        "blocks.N.attn.P_key, blocks.N.attn.P_value (g = 0)",
        "blocks.N.attn.P_key, blocks.N.attn.P_value (score.W, g = 0); blocks.N.attn.g (score",
    ),
    "bitfit": (
        "blocks.N.attn.k.delta (a softmax is the same if all its scores shift)",
        "delta of 15 layers (score.W = 0)",
    ),
    "adapter": ("", "D of 4 layers, b of 4 layers, U of 4 layers, c of 4 layers (score.W = 0)"),
    "prompt": ("", "tokens.P (score.W = 0)"),
}


def says(run, capsys, *args):
    """What a training prints about gradients; its output on stdout."""
    assert run("train", *args, "--steps", 1) == 0
    printed = capsys.readouterr()
    return "\n".join(line for line in printed.err.splitlines() if "gradient" in line), printed.out


@pytest.mark.parametrize("method", SAYS)
def test_train_says_which_parameters_wait_for_others(base, examples, tmp_path, run, capsys, method):
    texts = base.parent / "world.txt", examples
    for text, expected in zip(texts, SAYS[method]):
        args = *method.split(), "--model", base, "--data", text, "--out", tmp_path / text.stem
        found, _ = says(run, capsys, *args)
        assert expected in found and (expected != "" or not found)
        assert "warning" not in found and len(found.splitlines()) <= 1


def test_json_has_only_the_report_on_stdout(base, tmp_path, run, capsys):
    args = "lora", "--model", base, "--data", base.parent / "world.txt", "--out", tmp_path / "o"
    found, out = says(run, capsys, *args, "--json")
    assert found and json.loads(out)["trained_params"]


@pytest.mark.parametrize("method", ["lora", "ptuning2"])
def test_it_does_not_change_the_training(base, examples, tmp_path, run, monkeypatch, method):
    """The same losses and the same bits, with dropout too."""
    for text in (base.parent / "world.txt", examples):
        args = method, "--model", base, "--data", text, "--steps", 4, "--dropout", 0.2
        arrays, losses = [], []
        for check in (train.check_first_batch, lambda model, γ, batches, n: batches):
            monkeypatch.setattr(train, "check_first_batch", check)
            out = tmp_path / f"{text.name}{len(arrays)}"
            assert run("train", *args, "--out", out) == 0
            arrays.append((out / "adapter_model.safetensors").read_bytes())
            steps = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
            losses.append([step["loss"] for step in steps])
        assert arrays[0] == arrays[1] and losses[0] == losses[1] and len(losses[0]) == 4


def test_a_resumed_training_is_not_checked_again(base, tmp_path, run, capsys, monkeypatch):
    args = ["train", "lora", "--model", base, "--data", base.parent / "world.txt"]
    args += ["--out", tmp_path / "o", "--steps", 3, "--save-steps", 1]
    with monkeypatch.context() as patch:
        patch.setattr(mp.Trainer, "step", stopped_after(mp.Trainer.step, 2))
        assert run(*args) != 0
    assert "no gradient in step 1" in capsys.readouterr().err
    assert run(*args, "--resume") == 0
    assert "gradient" not in capsys.readouterr().err


def stopped_after(step, n):
    """Trainer.step that fails in step n + 1."""

    def stopped(self, *args, **batch):
        if self.t == n:
            raise OSError("stopped")
        return step(self, *args, **batch)

    return stopped


# -- words


def test_names_are_counted_or_listed():
    assert described(("0.blocks.0.attn.q.A", "0.blocks.1.attn.v.A")) == "A of 2 layers"
    assert described(("blocks.0.attn.k.b", "blocks.1.attn.k.b")) == "blocks.N.attn.k.b"
    assert described(("1.score.V", "1.score.a")) == "score.V, score.a"


def test_if_nothing_can_be_learned_that_is_a_warning():
    silent = [Silent(("x.A",), "B = 0", True), Silent(("x.B",), "A = 0", True)]
    assert lines(silent, 2) == [
        "warning: no parameter has a gradient, so nothing can be learned: x.A (B = 0); x.B (A = 0)"
    ]
    assert lines(silent, 3) == ["no gradient in step 1, as expected: x.A (B = 0); x.B (A = 0)"]
    assert lines([Silent(("x.A",), "why", False)], 2) == [
        "warning: no gradient for x.A (why): leave it out by --targets"
    ]
    assert lines([], 2) == []
