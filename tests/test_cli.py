"""The commands, as a shell calls them: what they print, what they leave behind, how they exit."""

import json
from itertools import islice

import numpy as np
import pytest

import minipeft as mp
from minipeft import cli
from minipeft.compare import Plan
from minipeft.world.language import documents
from minipeft.world.vocabulary import train_tokenizer

PLAN = "minipeft.commands.compare.Plan"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A small model's folder, and a text of its world."""
    folder = tmp_path_factory.mktemp("models") / "base"
    rng = np.random.default_rng(0)
    texts = list(islice(documents(rng), 400))
    model = mp.Decoder(mp.Config(vocabulary=300, width=16, layers=2, heads=2, length=128), rng)
    mp.save(model, folder, tokenizer=train_tokenizer(texts, 300))
    (folder.parent / "world.txt").write_text("\n".join(texts))
    return folder


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "data.jsonl"
    words = [("good", "warm fine kind"), ("bad", "cold dull rude")]
    rows = [
        {"text": f"{word} {i}", "label": y}
        for i in range(20)
        for y, ws in words
        for word in ws.split()
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def run(*args):
    """The exit code of a command."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(a) for a in args])
    return stop.value.code or 0


def test_compare_prints_one_json_document_and_saves_what_it_found(
    base, examples, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(PLAN, lambda: Plan(steps=4, seeds=2, rates=(1e-3, 1e-2)))
    out = tmp_path / "out"
    code = run("compare", "--model", base, "--data", examples, "--out", out, "--json")
    report = json.loads(capsys.readouterr().out)
    assert code == 0 and report == json.loads((out / "compare.json").read_text())
    assert [r["method"] for r in report["results"]] == list(mp.METHODS)
    assert report["classes"] == ["bad", "good"] and report["examples"]["train"] == 84
    model = mp.Classifier(mp.load(base), 2)
    for result in report["results"]:
        assert 0 < result["trainable"] and result["rate"] in (1e-3, 1e-2)
        assert len(result["test"]["runs"]) == 2 and 0 <= result["test"]["mean"] <= 1
        assert mp.load_adaptation(out / result["method"], model).adapts("score")


def test_compare_shows_a_table(base, examples, capsys, monkeypatch):
    monkeypatch.setattr(PLAN, lambda: Plan(steps=2, seeds=1, rates=(1e-2,)))
    monkeypatch.setenv("COLUMNS", "120")
    assert run("compare", "--model", base, "--data", examples, "--methods", "probe", "lora") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("(majority)", "probe", "lora", "of the base"))


@pytest.mark.parametrize("method", ["prefix", "adapter", "full"])
def test_train_moves_the_base_to_a_text_and_without_it_the_base_is_as_before(
    base, tmp_path, capsys, method
):
    out = tmp_path / "own"
    text = base.parent / "world.txt"
    ids = np.arange(40)[None]
    before = mp.load(base)(ids).data
    args = ["--data", text, "--method", method, "--out", out, "--steps", 40, "--rate", 1e-2]
    assert run("train", "--model", base, *args) == 0
    words = capsys.readouterr().out.split()
    at = words.index("token:")
    assert float(words[at + 4 if words[at + 4][0].isdigit() else at + 5]) < float(words[at + 1])
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 40
    model = mp.load(base)
    adapt = mp.load_adaptation(out, model)
    assert not np.array_equal(model(ids, adapt).data, before)
    np.testing.assert_array_equal(model(ids).data, before)
    generate = ["--tokens", 5, "--seed", 1]
    said = []
    for extra in ([], ["--adaptation", out], ["--adaptation", out]):
        assert run("generate", "--model", base, "--prompt", "The", *generate, *extra) == 0
        said.append(capsys.readouterr().out)
    assert said[1] == said[2] != said[0] and all(s.startswith("The") for s in said)


def test_fields_of_a_method_are_set_by_name(base, tmp_path):
    out = tmp_path / "own"
    args = ["--data", base.parent / "world.txt", "--out", out, "--steps", 1]
    fields = ["--fields", "rank=3", r"targets=attn\.k$"]
    assert run("train", "--model", base, "--method", "lora", *args, *fields) == 0
    lora = mp.load_adaptation(out, mp.load(base))
    assert all(p.shape[0] == 3 or p.shape[1] == 3 for p in lora.parameters())


def test_verify_prints_every_equation_as_json(capsys):
    assert run("verify", "--draws", 1, "--seed", 0, "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert len(entries) > 30 and all(e["ok"] and e["source"] for e in entries)
    assert all(isinstance(e["worst"], float) for e in entries)


def test_verify_exits_with_1_if_an_equation_fails(capsys, monkeypatch):
    monkeypatch.setattr("minipeft.ops.np.exp", lambda x, out=None: np.exp2(x, out=out))
    assert run("verify", "--draws", 1, "--seed", 0, "--json") == 1


BAD = {
    "an unknown method": (["compare", "--methods", "lorra"], "no method 'lorra'; there is probe"),
    "a file that is not there": (["compare", "--data", "none.jsonl"], "none.jsonl: no such file"),
    "a line that is no JSON": (["compare", "--data", "bad.jsonl"], "bad.jsonl:2: not JSON"),
    "one label alone": (["compare", "--data", "one.jsonl"], "every example has the label"),
    "too few examples": (["compare", "--data", "few.jsonl"], "2 examples are too few"),
    "a model that is not there": (["compare", "--model", "none"], "none"),
    "an unknown field": (
        ["train", "--data", "text.txt", "--out", "new", "--fields", "lenght=3"],
        "prefix has no field 'lenght'; it has length",
    ),
    "a pattern that matches nothing": (
        ["train", "--data", "text.txt", "--out", "new", "--fields", "targets=atn$"],
        "no layer matches 'atn$'; the model has tokens",
    ),
    "a field of another kind": (
        ["train", "--data", "text.txt", "--out", "new", "--fields", "length=abc"],
        "prefix: length='abc' must be of the kind int",
    ),
    "a pattern that is none": (
        ["train", "--data", "text.txt", "--out", "new", "--fields", "targets=attn["],
        "targets='attn[' is no pattern",
    ),
    "no rate": (
        ["train", "--data", "text.txt", "--out", "new", "--rate", "nan"],
        "--rate above 0",
    ),
    "no steps": (
        ["train", "--data", "text.txt", "--out", "new", "--steps", "0"],
        "--steps and --batch are at least 1",
    ),
    "no tokens": (["generate", "--prompt", "x", "--tokens", "0"], "max_new_tokens is at least 1"),
    "an empty text": (["train", "--data", "empty.txt", "--out", "new"], "the file is empty"),
    "a text that is too short": (
        ["train", "--data", "text.txt", "--out", "new"],
        "no passage of 64: more text",
    ),
    "a folder that is taken": (["train", "--data", "text.txt", "--out", "taken"], "there already"),
    "a truncated adaptation": (["generate", "--prompt", "x", "--adaptation", "cut"], "safetensors"),
    "too long a prompt": (["generate", "--prompt", "word " * 99], "positions"),
}


@pytest.mark.parametrize("args, message", BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_clear_error(base, tmp_path, capsys, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    line = '{"text": "x", "label": 1}\n'
    files = {"bad.jsonl": line + "{", "one.jsonl": line * 30, "few.jsonl": line * 2}
    for name, text in (files | {"text.txt": "a short text. " * 9, "empty.txt": " "}).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "taken").mkdir()
    model = mp.load(base)
    mp.save(mp.LoRA().attach(model, np.random.default_rng(0)), tmp_path / "cut")
    tensors = tmp_path / "cut" / "adapter_model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:200])
    there = sorted(p.name for p in tmp_path.iterdir())
    assert run(*args, *([] if "--model" in args else ["--model", base])) == 3
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.splitlines()) == 1 and not printed.out
    assert sorted(p.name for p in tmp_path.iterdir()) == there


def test_usage_exits_with_2(capsys):
    assert run("compair") == 2
    assert run("train") == 2


def test_a_loss_that_is_not_finite_exits_with_5(base, tmp_path, capsys):
    args = ["--data", base.parent / "world.txt", "--out", tmp_path / "own", "--method", "full"]
    assert run("train", "--model", base, *args, "--rate", "1e30", "--steps", 20) == 5
    assert "not finite" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
