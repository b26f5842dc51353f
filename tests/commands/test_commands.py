"""Each command, as a shell calls it: what it prints, and what it leaves behind."""

import io
import json
import sys

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands import evaluation as measure
from minipeft.commands.common import watching
from minipeft.equations import OPEN, Result
from minipeft.methods.template import Layout


@pytest.mark.parametrize("method", [name for name in mp.METHODS if name != "probe"])
def test_train_moves_the_base_to_a_text_and_without_it_the_base_is_as_before(
    base, tmp_path, capsys, run, method
):
    out, text = tmp_path / "own", base.parent / "world.txt"
    words = np.arange(40)[None]
    before = mp.load(base)(words).data
    args = ["--model", base, "--data", text, "--out", out, "--steps", 30, "--rate", 1e-2, "--json"]
    assert run("train", method, *args) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loss"] < report["base_loss"] and report["trained"] > 0
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps] == [*range(1, 31)]
    model = mp.load(base)
    adaptation = mp.load_adaptation(out, model)
    layout = Layout(adaptation.template, mp.load_tokenizer(base), model)
    ids = np.array([layout(words[0])])
    own = np.arange(40) + ids[0].tolist().index(0)
    assert not np.array_equal(model(ids, adaptation).data[:, own], before)
    np.testing.assert_array_equal(model(words).data, before)
    assert run("evaluate", "--model", base, "--data", text, "--adaptation", out, "--json") == 0
    base_alone, adapted = json.loads(capsys.readouterr().out)["results"]
    assert adapted["loss"] < base_alone["loss"] and adapted["adaptation"] == str(out)


def test_what_train_says_of_the_base_does_not_depend_on_the_batch(base, tmp_path, capsys, run):
    data = ["--model", base, "--data", base.parent / "world.txt", "--steps", 1]
    losses = []
    for batch in (1, 7):
        assert run("train", "lora", *data, "--out", tmp_path / str(batch), "--batch", batch) == 0
        words = capsys.readouterr().out.split()
        losses.append(words[words.index("token:") + 1])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("method", mp.METHODS)
def test_a_classifier_is_trained_measured_and_used(base, examples, tmp_path, capsys, run, method):
    out, given = tmp_path / "own", tmp_path / "given.jsonl"
    model = ["--model", base, "--data", examples]
    assert run("train", method, *model, "--out", out, "--steps", 60, "--rate", 0.02, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["majority"] == 0.5 and 0 <= report["accuracy"] <= 1 and not report["shortened"]
    assert json.loads((out / "labels.json").read_text()) == ["bad", "good"]
    assert run("evaluate", *model, "--adaptation", out, "--predictions", given, "--json") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    rows = [json.loads(line) for line in given.read_text().splitlines()]
    true = [json.loads(line) for line in examples.read_text().splitlines()]
    assert [row["text"] for row in rows] == [row["text"] for row in true]
    right = np.mean([row["label"] == own["label"] for row, own in zip(rows, true)])
    assert result["accuracy"] == right >= (0.9 if method in ("lora", "full") else 0.5)


def test_texts_without_labels_are_given_some(base, examples, tmp_path, capsys, run):
    out, new, given = tmp_path / "own", tmp_path / "new.CSV", tmp_path / "given.jsonl"
    assert run("train", "lora", "--model", base, "--data", examples, "--out", out) == 0
    assert "held-out accuracy" in capsys.readouterr().out
    new.write_text(f"text\nwarm 3\ncold 3\n{'cold ' * 200}\n")
    use = ["evaluate", "--model", base, "--adaptation", out, "--data", new]
    assert run(*use, "--predictions", given) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "no labels" in shown and "1 are too long for the model" in shown
    labels = [json.loads(line)["label"] for line in given.read_text().splitlines()]
    assert labels == ["good", "bad", "bad"]
    assert run(*use) == 3 and "no value for 'label'" in capsys.readouterr().err


def test_the_head_is_trained_beside_what_leaves_it_out(base, examples, tmp_path, run):
    out = tmp_path / "own"
    args = ["--model", base, "--data", examples, "--out", out, "--steps", 3]
    assert run("train", "full", "--targets", r"ln\d?$", *args) == 0
    model = mp.Classifier(mp.load(base), 2)
    adaptation = mp.load_adaptation(out, model)
    assert (
        adaptation.adapts("score") and adaptation.adapts("ln") and not adaptation.adapts("tokens")
    )
    assert np.abs(dict(adaptation.named_parameters())["1.score.W"].data).max() > 0


def test_every_label_is_trained_and_a_tenth_of_each_held_out():
    from minipeft.commands.train import apart

    examples = [(str(i), "common" if i < 30 else f"rare {i % 4}") for i in range(36)] + [("x", "1")]
    splits = apart("data", examples, np.random.default_rng(0))
    assert sorted(splits["train"] + splits["held out"]) == sorted(examples)
    assert {y for _, y in splits["train"]} == {y for _, y in examples}
    assert sum(y == "common" for _, y in splits["held out"]) == 3


@pytest.mark.parametrize(
    "more, method",
    [
        ([], repr(mp.LoRA(3, targets="attn.k$"))),
        (["--rank", 5], repr(mp.LoRA(5, targets="attn.k$"))),
        (["adapter"], repr(mp.Adapter())),
        (["prefix", "--words", 1, 2], repr(mp.PrefixTuning(2, words=(1, 2)))),
    ],
)
def test_a_file_sets_flags_and_the_command_line_wins(base, tmp_path, capsys, run, more, method):
    file, out, text = tmp_path / "run.toml", tmp_path / "own", base.parent / "world.txt"
    flags = f'model = "{base}"\ndata = "{text}"\nsteps = 2\nrate = 1\njson = true\n'
    file.write_text(flags + '[lora]\nrank = 3\ntargets = "attn.k$"\n')
    assert run("train", "--config", file, "--out", out, *more) == 0
    assert json.loads(capsys.readouterr().out)["method"] == method
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2


def test_generate_goes_on_from_standard_input(base, tmp_path, capsys, monkeypatch, run):
    monkeypatch.setattr("sys.stdin", io.StringIO("The soup\n"))
    args = ["--model", base, "--tokens", 5, "--seed", 1]
    assert run("generate", *args, "--prompt", "-", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["prompt"] == "The soup" and report["tokens"] <= 5
    assert run("generate", *args, "--prompt", "The soup") == 0
    assert capsys.readouterr().out == f"The soup{report['text']}\n"


def test_a_text_that_is_generated_ends_where_the_model_ends_it(base, capsys, monkeypatch, run):
    said = iter([5, 6, 0, 7])
    monkeypatch.setattr(
        sys.modules["minipeft.model.generate"], "pick", lambda z, *how: np.array([next(said)])
    )
    assert run("generate", "--model", base, "--prompt", "The", "--tokens", 4, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tokens"] == 3 and next(said) == 7
    assert report["text"] == mp.load_tokenizer(base).decode([5, 6])


@pytest.mark.parametrize("method", [name for name in mp.METHODS if name != "probe"])
def test_layers_count_each_number_once(base, capsys, run, method):
    assert run("layers", "--model", base, "--method", method, "--json") == 0
    layers = json.loads(capsys.readouterr().out)
    model, paths = mp.load(base), [layer["path"] for layer in layers]
    adaptation = mp.METHODS[method]().attach(model, np.random.default_rng(0))
    own = [path for path in adaptation.at if path == "encoder"]  # a network beside the model
    assert paths == [path for path, _ in model.modules() if path] + own
    assert sum(layer["parameters"] for layer in layers) == count(model)
    assert sum(layer["trained"] for layer in layers) == count(adaptation)
    assert all(layer["adapted"] == adaptation.adapts(layer["path"]) for layer in layers)


def count(thing):
    return sum(p.data.size for p in thing.parameters())


def test_layers_are_a_table_that_marks_what_a_pattern_matches(base, capsys, monkeypatch, run):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("layers", "--model", base, "--targets", "attn$") == 0
    rows = capsys.readouterr().out.splitlines()
    assert max(map(len, rows)) <= 80
    marked = [row.split()[1] for row in rows if "yes" in row]
    assert marked == ["blocks.N.attn"]
    assert any("W 16×64, b 64" in row and "1,088" in row for row in rows)
    assert run("layers", "--model", base, "--targets", r"1\.attn$") == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[1] for row in rows if "yes" in row] == ["blocks.1.attn"]
    assert any("blocks.0.attn.q" in row and "….attn.c_attn" in row for row in rows)


def test_what_stands_in_front_of_a_text_is_counted(base):
    model, rng = mp.load(base), np.random.default_rng(0)
    around = lambda γ: Layout(γ.template, mp.load_tokenizer(base), model)
    ahead = {"prompt": 20, "prefix": 10, "lora": 0, "ptuning": 10}
    for name, positions in ahead.items():
        adaptation = mp.METHODS[name]().attach(model, rng)
        assert measure.added(model, adaptation, around(adaptation)) == positions
    both = mp.Chain(mp.PromptTuning(3), mp.PrefixTuning(4)).attach(model, rng)
    layout = around(both)
    assert measure.added(model, both, layout) == 7 and measure.added(model, mp.PLAIN, layout) == 0
    most = 128 - 7
    model(np.zeros((1, most), int), both)
    measure.fits(model, both, layout, most, "so many")
    with pytest.raises(ValueError, match="so many: that takes 129 positions, 7 of them"):
        measure.fits(model, both, layout, most + 1, "so many")
    with pytest.raises(ValueError, match="129 long"):
        model(np.zeros((1, most + 1), int), both)


def test_long_work_tells_every_ten_seconds_how_far_it_is(capsys, monkeypatch):
    now = iter(range(0, 10_000, 4))
    monkeypatch.setattr("minipeft.commands.common.time.monotonic", lambda: next(now))
    with watching("training", 9) as each:
        assert list(each("abcdefghi")) == list("abcdefghi")
    told = capsys.readouterr()
    assert not told.out
    assert told.err.splitlines() == [f"training: {done} of 9" for done in (3, 6, 9)]


@pytest.mark.parametrize("family, score", [("gpt2", 2.5), ("bert", (1.5, 0.75))])
def test_pretrain_says_what_the_new_model_reaches(
    tmp_path, capsys, monkeypatch, run, family, score
):
    labelled_positions, out = [], tmp_path / "new"
    pretrain = "minipeft.world.pretrain.pretrain"
    monkeypatch.setattr(pretrain, lambda *how: labelled_positions.append(how) or score)
    args = ["--out", out, "--family", family]
    assert run("pretrain", *args, "--steps", 3, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report.pop("out") == str(out) and report.pop("family") == family
    assert report == dict(zip(("loss", "right"), np.atleast_1d(score)))
    assert run("pretrain", *args) == 0 and str(report["loss"]) in capsys.readouterr().out
    assert labelled_positions == [(out, family, 3, 0), (out, family, None, 0)]
    assert run("pretrain", "--out", tmp_path) == 3 and len(labelled_positions) == 2
    assert "there already" in capsys.readouterr().err


OTHERS = {  # networks that write no text
    "an encoder": lambda model: mp.load("encoder"),
    "a Classifier": lambda model: mp.Classifier(model, 2),
    "a Features": mp.Features,
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("command", ["train lora --out new", "evaluate", "generate --prompt x"])
def test_what_writes_no_text_is_not_asked_to(base, capsys, monkeypatch, run, command, kind):
    model = OTHERS[kind](mp.load(base))
    monkeypatch.setattr("minipeft.hf.load", lambda folder: model)
    data = [] if "generate" in command else ["--data", base.parent / "world.txt"]
    assert run(*command.split(), "--model", base, *data) == 2
    assert f"--model is {kind}, so it writes no text" in capsys.readouterr().err


def test_verify_prints_every_equation_as_json(capsys, run):
    assert run("verify", "--draws", 1, "--seed", 0, "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    entries, open = entries[: -len(OPEN)], entries[-len(OPEN) :]
    assert len(entries) >= 60 and all(e["ok"] and e["source"] for e in entries)
    assert all(isinstance(e["worst"], float) for e in entries)
    assert [(e["id"], e["ok"], e["draws"]) for e in open] == [(e["id"], None, 0) for e in OPEN]
    assert run("verify", "--draws", 1, "--seed", 0) == 0
    assert "open: waits" in " ".join(capsys.readouterr().out.split())


def test_verify_exits_with_1_if_an_equation_fails(capsys, monkeypatch, run):
    monkeypatch.setattr("minipeft.autograd.ops.np.exp", lambda x, out=None: np.exp2(x, out=out))
    assert run("verify", "--draws", 1, "--seed", 0, "--json") == 1


def test_verify_shows_an_error_that_is_no_number(capsys, monkeypatch, run):
    broken = Result("EQ-0", "x = x", "nowhere", 1, np.nan, False, "not finite")
    monkeypatch.setattr("minipeft.commands.verify.verify", lambda draws, seed: [broken])
    assert run("verify") == 1
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "EQ-0" in line)
    assert "nan" in row and "fails" in row and shown.count("nan") == 1


def test_a_running_text_is_the_end_of_its_template(base, tmp_path, capsys, run):
    """What stands behind it would learn nothing."""
    data = ["--model", base, "--data", base.parent / "world.txt", "--out", tmp_path / "own"]
    assert run("train", "ptuning", "--template", "[P] {x} [P]", *data) == 2
    assert "nothing follows {x}" in capsys.readouterr().err and not [*tmp_path.iterdir()]
