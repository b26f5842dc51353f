"""train, evaluate, generate, layers and pretrain: what they print and write."""

import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.nn import size
from minipeft.commands import evaluation, train
from minipeft.commands.common import progress
from minipeft.methods import KINDS
from minipeft.methods.template import Layout
from minipeft.world.pretrain import STEPS


@pytest.mark.parametrize("method", [*KINDS[1:], "ptuning", "multitask"])  # one of each kind
def test_train_lowers_the_loss_on_a_text_and_does_not_change_the_base(
    base, tmp_path, capsys, run, method
):
    out, text = tmp_path / "new", base.parent / "world.txt"
    words = np.arange(40)[None]
    before = mp.load(base)(words).data
    args = ["--model", base, "--data", text, "--out", out, "--lr", 1e-2, "--json"]
    args += ["--steps", 30, "--batch-size", 4]
    assert run("train", method, *args) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loss"] < report["base_loss"] and report["trained_params"] > 0
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps] == [*range(1, 31)]
    model = mp.load(base)
    adaptation = mp.load_adaptation(out, model)
    layout = Layout(adaptation.template, mp.load_tokenizer(base), model)
    ids = np.array([layout(words[0])])
    positions = np.arange(40) + ids[0].tolist().index(0)
    assert not np.array_equal(model(ids, adaptation).data[:, positions], before)
    np.testing.assert_array_equal(model(words).data, before)
    assert run("evaluate", "--model", base, "--data", text, "--adaptation", out, "--json") == 0
    base_alone, adapted = json.loads(capsys.readouterr().out)["results"]
    assert adapted["loss"] < base_alone["loss"] and adapted["adaptation"] == str(out)


def test_the_loss_of_the_base_that_train_reports_does_not_depend_on_the_batch_size(
    base, tmp_path, capsys, run
):
    data = ["--model", base, "--data", base.parent / "world.txt", "--steps", 1]
    losses = []
    for n in (1, 7):
        out = ["--out", tmp_path / str(n), "--batch-size", n]
        assert run("train", "lora", *data, *out) == 0
        losses.append(re.search(r"base model: (\d\.\d+)", capsys.readouterr().out)[1])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("method", mp.METHODS)
def test_a_classifier_is_trained_measured_and_used(base, examples, tmp_path, capsys, run, method):
    out, predictions = tmp_path / "new", tmp_path / "predictions.jsonl"
    model, learns = ["--model", base, "--data", examples], method in ("lora", "full")
    steps = () if method == "probe" else ("--steps", 60 if learns else 10, "--lr", 0.02)
    assert run("train", method, *model, "--out", out, *steps, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["majority_accuracy"] == 0.5 and 0 <= report["accuracy"] <= 1
    assert not report["truncated"]
    assert json.loads((out / "labels.json").read_text()) == ["bad", "good"]
    assert run("evaluate", *model, "--adaptation", out, "--predictions", predictions, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    true = [json.loads(line) for line in examples.read_text().splitlines()]
    assert [row["text"] for row in rows] == [row["text"] for row in true]
    right = np.mean([row["label"] == example["label"] for row, example in zip(rows, true)])
    assert result["accuracy"] == right >= (0.9 if learns else 0.5)


def test_labels_of_texts_without_labels_are_predicted(base, examples, tmp_path, capsys, run):
    out, new, predictions = tmp_path / "new", tmp_path / "new.CSV", tmp_path / "predictions.jsonl"
    steps = ["--steps", 60, "--lr", 0.02]
    assert run("train", "lora", "--model", base, "--data", examples, "--out", out, *steps) == 0
    assert "held-out accuracy" in capsys.readouterr().out
    new.write_text(f"text\nwarm 3\ncold 3\n{'cold ' * 200}\n")
    evaluate = ["evaluate", "--model", base, "--adaptation", out, "--data", new]
    assert run(*evaluate, "--predictions", predictions) == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "no labels" in table and "truncated to what fits the model: 1 text" in table
    labels = [json.loads(line)["label"] for line in predictions.read_text().splitlines()]
    assert labels == ["good", "bad", "bad"]
    assert run(*evaluate) == 3
    assert "no value for the column 'label'" in capsys.readouterr().err


def test_the_head_is_trained_with_a_method_that_does_not_adapt_it(base, examples, tmp_path, run):
    out = tmp_path / "new"
    args = ["--model", base, "--data", examples, "--out", out, "--steps", 3]
    assert run("train", "full", "--targets", r"ln\d?$", *args) == 0
    model = mp.Classifier(mp.load(base), 2)
    adaptation = mp.load_adaptation(out, model)
    assert (
        adaptation.adapts("score") and adaptation.adapts("ln") and not adaptation.adapts("tokens")
    )
    assert np.abs(dict(adaptation.named_parameters())["1.score.W"].data).max() > 0


@pytest.mark.parametrize(
    "flags, method",
    [
        ([], repr(mp.LoRA(3, targets="attn.k$"))),
        (["--rank", 5], repr(mp.LoRA(5, targets="attn.k$"))),
        (["adapter"], repr(mp.Adapter())),
        (["prefix", "--words", 1, 2], repr(mp.PrefixTuning(2, words=(1, 2)))),
    ],
)
def test_the_command_line_overrides_a_file_of_flags(base, tmp_path, capsys, run, flags, method):
    file, out, text = tmp_path / "run.toml", tmp_path / "new", base.parent / "world.txt"
    lines = f'model = "{base}"\ndata = "{text}"\nsteps = 2\nlr = 1\njson = true\n'
    file.write_text(lines + '[lora]\nrank = 3\ntargets = "attn.k$"\n')
    assert run("train", "--config", file, "--out", out, *flags) == 0
    assert json.loads(capsys.readouterr().out)["method"] == method
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2


def test_generate_reads_the_prompt_from_standard_input(base, tmp_path, capsys, monkeypatch, run):
    monkeypatch.setattr("sys.stdin", io.StringIO("The soup\n"))
    args = ["--model", base, "--max-new-tokens", 5, "--seed", 1]
    assert run("generate", *args, "--prompt", "-", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["prompt"] == "The soup" and report["new_tokens"] <= 5
    assert run("generate", *args, "--prompt", "The soup") == 0
    assert capsys.readouterr().out == f"The soup{report['text']}\n"


def test_generation_stops_at_the_end_of_text_token(base, capsys, monkeypatch, run):
    tokens = iter([5, 6, 0, 7])
    monkeypatch.setattr(
        sys.modules["minipeft.model.generate"], "sample", lambda z, *how: np.array([next(tokens)])
    )
    args = ["--model", base, "--prompt", "The", "--max-new-tokens", 4, "--json"]
    assert run("generate", *args) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["new_tokens"] == 3 and next(tokens) == 7
    assert report["text"] == mp.load_tokenizer(base).decode([5, 6])


@pytest.mark.parametrize("method", [name for name in mp.METHODS if name != "probe"])
def test_layers_count_each_parameter_once(base, capsys, run, method):
    assert run("layers", "--model", base, "--method", method, "--json") == 0
    layers = json.loads(capsys.readouterr().out)
    model, paths = mp.load(base), [layer["path"] for layer in layers]
    adaptation = mp.METHODS[method]().attach(model, np.random.default_rng(0))
    network = [path for path in adaptation.at if path == "encoder"]  # of a reparametrisation
    assert paths == [path for path, _ in model.modules() if path] + network
    assert sum(layer["params"] for layer in layers) == size(model)
    assert sum(layer["trained_params"] for layer in layers) == size(adaptation)
    assert all(layer["adapted"] == adaptation.adapts(layer["path"]) for layer in layers)


def test_layers_are_a_table_that_marks_what_a_pattern_matches(base, capsys, monkeypatch, run):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("layers", "--model", base, "--targets", "attn$") == 0
    rows = capsys.readouterr().out.splitlines()
    assert max(map(len, rows)) <= 80
    assert [row.split()[0] for row in rows if "yes" in row] == ["blocks.N.attn"]
    assert any("W 16×64, b 64" in row and "1,088" in row for row in rows)
    assert run("layers", "--model", base, "--targets", r"1\.attn$") == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows if "yes" in row] == ["blocks.1.attn"]
    assert any("blocks.0.attn.q" in row and " attn.c_attn" in row for row in rows)


def test_positions_of_virtual_tokens_are_counted(base):
    model, rng = mp.load(base), np.random.default_rng(0)
    layout_of = lambda γ: Layout(γ.template, mp.load_tokenizer(base), model)
    for name, positions in {"prompt": 20, "prefix": 10, "lora": 0, "ptuning": 10}.items():
        γ = mp.METHODS[name]().attach(model, rng)
        assert evaluation.extra_positions(model, γ, layout_of(γ)) == positions
    both = mp.Chain(mp.PromptTuning(3), mp.PrefixTuning(4)).attach(model, rng)
    layout = layout_of(both)
    assert evaluation.extra_positions(model, both, layout) == 7
    assert evaluation.extra_positions(model, mp.PLAIN, layout) == 0
    longest = 128 - 7
    model(np.zeros((1, longest), int), both)
    evaluation.check_length(model, both, layout, longest, "a text")
    with pytest.raises(ValueError, match="a text: 129 positions are needed, 7 of them"):
        evaluation.check_length(model, both, layout, longest + 1, "a text")
    with pytest.raises(ValueError, match="129"):
        model(np.zeros((1, longest + 1), int), both)


def test_progress_is_printed_every_ten_seconds_without_a_terminal(capsys, monkeypatch):
    seconds = iter(range(0, 10_000, 4))
    clock = SimpleNamespace(monotonic=lambda: next(seconds))  # other threads keep theirs
    monkeypatch.setattr("minipeft.commands.common.time", clock)
    with progress("training", 9) as track:
        assert list(track("abcdefghi")) == list("abcdefghi")
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.splitlines() == [f"training: {done} of 9" for done in (3, 6, 9)]


@pytest.mark.parametrize("family, score", [("gpt2", 2.5), ("bert", (1.5, 0.75)), ("t5", 1.5)])
def test_pretrain_reports_the_scores_of_the_new_model(
    tmp_path, capsys, monkeypatch, run, family, score
):
    calls, out = [], tmp_path / "new"
    pretrain = "minipeft.world.pretrain.pretrain"
    monkeypatch.setattr(pretrain, lambda *args: calls.append((*args[:4], args[6])) or score)
    args = ["--out", out, "--family", family, "--size", "0.3M"]
    assert run("pretrain", *args, "--steps", 3, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report.pop("out") == str(out) and report.pop("family") == family
    assert report.pop("size") == "0.3M"
    assert report == dict(zip(("loss", "accuracy"), np.atleast_1d(score)))
    assert run("pretrain", *args) == 0 and str(report["loss"]) in capsys.readouterr().out
    assert calls == [(out, family, steps, 0, "0.3M") for steps in (3, STEPS[family])]
    assert run("pretrain", "--out", tmp_path) == 3 and len(calls) == 2
    assert "exists already" in capsys.readouterr().err


NOT_DECODERS = {
    "an encoder": lambda model: mp.load("encoder"),
    "a Classifier": lambda model: mp.Classifier(model, 2),
    "a Features": mp.Features,
}


@pytest.mark.parametrize("kind", NOT_DECODERS)
@pytest.mark.parametrize("command", ["train lora --out new", "evaluate", "generate --prompt x"])
def test_text_is_refused_for_a_model_that_is_not_a_decoder(
    base, capsys, monkeypatch, run, command, kind
):
    model = NOT_DECODERS[kind](mp.load(base))
    monkeypatch.setattr("minipeft.hf.load", lambda folder: model)
    data = [] if "generate" in command else ["--data", base.parent / "world.txt"]
    assert run(*command.split(), "--model", base, *data) == 2
    assert f"--model is {kind}, which can't generate text" in capsys.readouterr().err


def test_a_template_for_a_text_ends_with_it(base, tmp_path, capsys, run):
    """Pseudo-tokens behind it would get no gradient."""
    data = ["--model", base, "--data", base.parent / "world.txt", "--out", tmp_path / "new"]
    assert run("train", "ptuning", "--template", "[P] {x} [P]", *data) == 2
    assert "{x} must come last" in capsys.readouterr().err and not [*tmp_path.iterdir()]


def test_all_passages_of_an_own_dev_text_are_evaluated(base, tmp_path, json_of, monkeypatch):
    monkeypatch.setattr(train, "MOST", 1)
    monkeypatch.chdir(tmp_path)
    Path("data.txt").write_text("a short text. " * 90)
    Path("dev.txt").write_text("a short text. " * 9 + "Quite another thing! " * 9)
    command = "train bitfit --data data.txt --dev dev.txt --out out --steps 1 --block-size 8"
    loss = json_of(*command.split(), "--model", base)["loss"]
    (_, result) = json_of(
        *"evaluate --data dev.txt --adaptation out --block-size 8 --model".split(), base
    )["results"]
    assert loss == pytest.approx(result["loss"], rel=1e-6)
