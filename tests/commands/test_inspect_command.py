"""minipeft inspect: its tables, its JSON, its page, and what it refuses."""

import json
import re

import numpy as np
import pytest

import minipeft as mp

TEXT = "The soup was cold, so she"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Folders of two trained adaptations in the current folder, and examples."""
    monkeypatch.chdir(tmp_path)
    lines = "".join(f'{{"text": "t {i}", "label": "{"ab"[i % 2]}"}}\n' for i in range(40))
    (tmp_path / "data.jsonl").write_text(lines)
    model, rng = mp.load(), np.random.default_rng(0)
    for name, method in {"mine": mp.PrefixTuning(3), "other": mp.LoRA()}.items():
        γ = method.attach(model, rng)
        mp.save(γ.map(lambda p: mp.Tensor(p.data + 0.1, requires_grad=True)), name)
    return tmp_path


def test_the_report_has_the_numbers_of_the_library(folders, run, capsys):
    assert run("inspect", "mine", "--text", TEXT, "--max-new-tokens", "2", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    model = mp.load()
    γ, ids = mp.load_adaptation("mine", model), mp.load_tokenizer().encode(TEXT).ids
    view = mp.inspect(model, γ, ids, new_tokens=2).views[0]
    (found,) = report["views"]
    np.testing.assert_allclose(found["outputs"]["kl"], view.outputs.kl, rtol=1e-6)
    assert found["bytes"] == (folders / "mine" / "adapter_model.safetensors").stat().st_size
    assert found["stacks"][""]["tokens"][:4] == ["P0", "P1", "P2", "The"]
    assert report["cut"] is None and report["new"] == 2


def test_the_tables_fit_the_terminal(folders, run, capsys):
    assert run("inspect", "mine", "--text", TEXT, "--against", "other") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "most likely after ' she'; KL to the base" in out
    for text in ("Attn(Q, [P_key; K], [P_value; V])", "W₀ x + (α/r) B A x", "blocks.3", "PF-2"):
        assert text in out
    assert re.search(r"in one batch differ from those of each alone by at most\n\de-\d\d", out)


def test_a_page_is_written_once(folders, run, capsys):
    assert run("inspect", "lora", "--text", TEXT, "-o", "view.html") == 0
    page = (folders / "view.html").read_bytes()
    assert b"LoRA(rank=8" in page and len(page) < 1_000_000
    assert run("inspect", "lora", "--text", TEXT, "--out", "view.html") == 3
    assert "exists already" in capsys.readouterr().err
    assert (folders / "view.html").read_bytes() == page


def test_a_long_text_is_cut_and_the_report_says_so(run, capsys):
    assert run("inspect", "bitfit", "--text", TEXT * 5, "--max-tokens", "8", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    tokens = len(mp.load_tokenizer().encode(TEXT * 5).ids)
    assert report["cut"] == {"shown": 8, "tokens": tokens} and report["new"] == 12
    assert len(report["views"][0]["stacks"][""]["tokens"]) == 8 + 12


@pytest.mark.parametrize("model", ["encoder", "seq2seq"])
def test_other_networks(model, run, capsys):
    assert run("inspect", "lora", "--text", "The soup", "--model", model, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [*report["views"][0]["stacks"]] == (
        [""] if model == "encoder" else ["encoder", "decoder"]
    )


def test_a_classifier_has_the_names_of_its_classes(folders, run, capsys):
    flags = "--data", "data.jsonl"
    assert run("train", "probe", *flags, "--out", "probe", "--json") == 0
    capsys.readouterr()
    assert run("inspect", "probe", "--text", "t 1", *flags, "--json") == 0
    (view,) = json.loads(capsys.readouterr().out)["views"]
    assert sorted(view["outputs"]["words"][0]) == ["a", "b"]
    assert view["panels"][-1]["kind"] == "accuracy"


def test_adaptations_of_other_networks_are_not_compared(folders, run, capsys):
    flags = "train", "probe", "--data", "data.jsonl", "--out"
    assert run(*flags, "a") == run(*flags, "b", "--pool", "mean") == 0
    text = (folders / "data.jsonl").read_text()
    (folders / "data.jsonl").write_text(text.replace('"b"', '"c"'))
    assert run(*flags, "c") == 0
    for other, kind in ("b", "a, b, pool mean"), ("c", "a, c, pool last"), ("lora", "a Decoder"):
        capsys.readouterr()
        assert run("inspect", "a", "--against", other, "--text", "t 1") == 2
        error = capsys.readouterr().err
        assert f"--against {other} is for" in error and kind in error


def test_a_text_is_cut_to_the_positions_of_the_model(folders, run, capsys):
    flags = "--text", TEXT * 60, "--max-tokens", "9999", "--max-new-tokens", "0", "--json"
    assert run("inspect", "prompt", *flags) == 0
    assert json.loads(capsys.readouterr().out)["cut"]["shown"] == mp.load().config.length - 20


def test_what_is_not_finite_is_an_error_and_no_page(folders, run, capsys):
    model = mp.load()
    γ = mp.LoRA().attach(model, np.random.default_rng(0))
    mp.save(γ.map(lambda p: mp.Tensor(p.data * 0 + 1e30, requires_grad=True)), "big")
    with np.errstate(all="ignore"):
        assert run("inspect", "big", "--text", "The soup", "-o", "v.html") == 5
    assert "NaN or infinite" in capsys.readouterr().err and not (folders / "v.html").exists()


@pytest.mark.parametrize(
    "flags, code, error",
    [
        (["nowhere"], 3, "there is no folder nowhere, and no such method"),
        (["prefx"], 3, "did you mean prefix?"),
        (["lora", "--against", "nowhere"], 3, "no folder nowhere"),
        (["lora", "--max-tokens", "0"], 2, "--max-tokens must be at least 1"),
        (["lora", "--max-new-tokens", "-1"], 2, "--max-new-tokens must be at least 0"),
        (["lora", "-o", "nowhere/v/v.html"], 0, ""),
        (["lora", "-x", "1"], 2, "no flag -x"),
        (["probe"], 2, "this model has none"),
        (["lora", "--data", "nowhere.csv"], 3, "nowhere.csv"),
        (["lora", "--data", "data.jsonl"], 2, "no Probe is inspected"),
    ],
)
def test_errors(flags, code, error, folders, run, capsys):
    assert run("inspect", "--text", "The soup", "--max-new-tokens", "0", *flags) == code
    assert error in capsys.readouterr().err


def test_a_broken_folder_is_refused(folders, run, capsys):
    tensors = folders / "mine" / "adapter_model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:200])
    assert run("inspect", "mine", "--text", "The soup", "-o", "v.html") == 3
    assert "adapter_model.safetensors" in capsys.readouterr().err
    assert not (folders / "v.html").exists()
