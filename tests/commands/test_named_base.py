"""The base model that the folder of an adaptation names is used in place of the built-in one."""

import json
import shutil

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands.folders import base_of
from tests.support.folder_edits import ADAPTER, set_fields


@pytest.fixture
def folder(base, tmp_path, monkeypatch):
    """A folder, the current one, of a base model and adaptations of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base, "base")
    (tmp_path / "text.txt").write_text((base.parent / "world.txt").read_text()[:1200])
    model, rng = mp.load("base"), np.random.default_rng(0)
    mp.save(mp.LoRA(2).attach(model, rng), "lora")
    mp.save(mp.Chain(mp.Adapter(2), mp.Probe()).attach(mp.Classifier(model, 2), rng), "critic")
    (tmp_path / "critic/labels.json").write_text('["bad", "good"]')
    return tmp_path


def name_base(folder, name):
    set_fields(ADAPTER, base_model_name_or_path=name)(folder)


def read_name(folder):
    return json.loads((folder / ADAPTER).read_text()).get("base_model_name_or_path")


def test_an_adaptation_names_the_folder_of_its_base(folder, run):
    assert read_name(folder / "lora") == read_name(folder / "critic") == "base"
    γ = mp.load_adaptation("lora", mp.load(folder / "base"))
    mp.save(γ, "absolute")
    assert read_name(folder / "absolute") == str(folder / "base")
    merged = mp.merge(mp.load("base"), γ)
    for model in (mp.load(), mp.load("encoder"), merged):  # built in, or of other weights
        mp.save(mp.LoRA(2).attach(model, np.random.default_rng(0)), "other")
        assert read_name(folder / "other") is None
    assert (
        run("train", "ia3", "--model", "base", "--data", "text.txt", "--out", "t", "--steps", 1)
        == 0
    )
    assert read_name(folder / "t") == "base"


@pytest.mark.parametrize("name", ["decoder", "encoder", "seq2seq"])
def test_the_built_in_base_of_an_adaptation_is_known_by_its_sizes(tmp_path, name):
    model = mp.load(name)
    mp.save(mp.LoRA(2).attach(model, np.random.default_rng(0)), tmp_path / "a")
    assert base_of(None, tmp_path / "a") == (None if name == "decoder" else name)
    assert base_of("decoder", tmp_path / "a") == "decoder"  # --model
    other = mp.Decoder(mp.Config(99, 8, layers=1, heads=2, length=9), np.random.default_rng(0))
    mp.save(mp.LoRA(2).attach(other, np.random.default_rng(0)), tmp_path / "b")
    assert base_of(None, tmp_path / "b") is None


def test_every_command_takes_the_base_that_an_adaptation_names(folder, examples, run, json_of):
    for name in ("lora", "critic"):
        assert json_of("convert", name, "new")["type"] == "adaptation"
        assert read_name(folder / "new") == "base"
    prompt = ["generate", "--prompt", "The soup", "--max-new-tokens", 3, "--adaptation", "lora"]
    assert json_of(*prompt) == json_of(*prompt, "--model", "base")
    text = ["evaluate", "--data", "text.txt", "--adaptation", "lora"]
    assert json_of(*text) == json_of(*text, "--model", "base")
    mp.save(mp.load_adaptation("lora", mp.load(folder / "base")), "absolute")  # of the same folder
    assert len(json_of(*text, "absolute")["results"]) == 3
    labels = ["evaluate", "--data", examples, "--adaptation", "critic"]
    assert json_of(*labels) == json_of(*labels, "--model", "base")


@pytest.mark.parametrize("name", [None, ""])
def test_an_adaptation_that_names_no_base_has_the_built_in_one(folder, run, json_of, capsys, name):
    mp.save(mp.LoRA(2).attach(mp.load(), np.random.default_rng(0)), "own")
    for adaptation in ("own", "lora"):
        name_base(folder / adaptation, name)
    assert json_of("convert", "own", "new")["type"] == "adaptation"
    assert run("convert", "lora", "new") == 3
    assert "was made for another base model" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["elsewhere/base", "text.txt", "x" * 300, "\0"])
def test_a_base_that_is_missing_is_named_with_its_flag(folder, run, capsys, name):
    name_base(folder / "lora", name)
    for command in (
        ["convert", "lora", "new"],
        ["generate", "--prompt", "x", "--adaptation", "lora"],
        ["evaluate", "--data", "text.txt", "--adaptation", "lora"],
    ):
        assert run(*command) == 3
        error = capsys.readouterr().err
        assert f"names the base model {name!r:.200}, and there is no such folder" in error
        assert "--model FOLDER" in error and error.count("\n") == 1
        assert run(*command, "--model", "base") == 0
        capsys.readouterr()


def test_adaptations_of_several_bases_are_not_evaluated_together(folder, run, capsys):
    mp.save(mp.LoRA(2).attach(mp.load(), np.random.default_rng(0)), "own")
    assert run("evaluate", "--data", "text.txt", "--adaptation", "lora", "own") == 2
    assert "have different base models, base, decoder: give --model" in capsys.readouterr().err
    for name in (3, ["base"]):
        name_base(folder / "lora", name)
        assert run("convert", "lora", "new") == 3
        assert "base_model_name_or_path=" in capsys.readouterr().err
