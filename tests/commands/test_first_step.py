"""train: which parameters get no gradient in step 1; and that finding this out changes nothing."""

import json

import pytest

import minipeft as mp
from minipeft.commands import train
from minipeft.commands.first_step import described, lines
from minipeft.inspection.gradients import Silent

KEYS = (
    "any step, as expected: blocks.N.attn.k.delta, because a softmax is the same if all its scores "
    "shift"
)
SAYS = {  # method: what `train` says of a text, and of examples with a new head
    "lora": (
        ["step 1, as expected: A of 4 layers, because B = 0"],
        [
            "step 1, as expected: A of 4 layers, because B = 0 and score.W = 0",
            "step 1, as expected: B of 4 layers, because score.W = 0",
        ],
    ),
    "prefix --gate": (
        ["step 1, as expected: blocks.N.attn.P_key, blocks.N.attn.P_value, because g = 0"],
        [
            "step 1, as expected: blocks.N.attn.P_key, blocks.N.attn.P_value, because score.W = 0 "
            "and g = 0",
            "step 1, as expected: blocks.N.attn.g, because score.W = 0",
        ],
    ),
    "bitfit": (
        [KEYS],
        ["step 1, as expected: delta of 15 layers, because score.W = 0", KEYS],
    ),
    "adapter": (
        [],
        [
            "step 1, as expected: D of 4 layers, b of 4 layers, U of 4 layers, c of 4 layers, "
            "because score.W = 0"
        ],
    ),
    "prompt": ([], ["step 1, as expected: tokens.P, because score.W = 0"]),
}


def says(run, capsys, *args):
    """What a training prints before step 1, each sentence on one line; its output on stdout."""
    assert run("train", *args, "--steps", 1, "--warmup-steps", 0) == 0
    printed = capsys.readouterr()
    assert max(map(len, printed.err.splitlines()), default=0) <= 80
    return printed.err.replace("\n  ", " ").splitlines(), printed.out


@pytest.mark.parametrize("method", SAYS)
def test_train_says_which_parameters_wait_for_others(base, examples, tmp_path, run, capsys, method):
    texts = base.parent / "world.txt", examples
    for text, expected in zip(texts, SAYS[method]):
        args = *method.split(), "--model", base, "--data", text, "--out", tmp_path / text.stem
        found, _ = says(run, capsys, *args)
        assert [line for line in found if "gradient" in line] == [
            f"no gradient in {words}" for words in expected
        ]


def test_json_has_only_the_report_on_stdout(base, tmp_path, run, capsys):
    args = "lora", "--model", base, "--data", base.parent / "world.txt", "--out", tmp_path / "o"
    found, out = says(run, capsys, *args, "--json")
    assert found and json.loads(out)["trained_params"]


def test_steps_that_are_all_warmup_are_named(base, tmp_path, run, capsys):
    args = "train", "prefix", "--model", base, "--data", base.parent / "world.txt"
    says = "5 steps of the 20 of the warmup: the learning rate only rises, to 24% of 0.05"
    for steps, expected in ((5, [says]), (20, [])):
        assert run(*args, "--out", tmp_path / f"{steps}", "--steps", steps) == 0
        found = capsys.readouterr().err.splitlines()
        assert [line for line in found if "warmup" in line] == expected
    rates = [
        json.loads(line)["lr"] for line in (tmp_path / "5/metrics.jsonl").read_text().splitlines()
    ]
    assert max(rates) == rates[-1] == pytest.approx(0.05 * 5 / 21)


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
        "warning: no parameter has a gradient, so nothing can be learned: x.A, because B = 0; "
        "x.B, because A = 0"
    ]
    assert lines(silent, 3) == [
        "no gradient in step 1, as expected: x.A, because B = 0",
        "no gradient in step 1, as expected: x.B, because A = 0",
    ]
    assert lines([Silent(("x.A",), "why", False)], 2) == [
        "warning: no gradient for x.A, because why; leave it out by --targets"
    ]
    assert lines([], 2) == []
