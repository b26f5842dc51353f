"""Which errors of load_adaptation are about the file, and which are not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft.hf import CheckpointError
from tests.support.families import BERT, GPT2, C, decoder, encoder

MODEL = decoder(GPT2)


def rng():
    return np.random.default_rng(0)


FORMATS = {"PEFT's format": mp.LoRA(2), "minipeft's format": mp.Adapter(2)}


@pytest.mark.parametrize("method", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("error", [MemoryError, TypeError, KeyError, IndexError, ZeroDivisionError])
def test_a_fault_of_the_program_is_not_a_fault_of_the_file(tmp_path, monkeypatch, method, error):
    def fail(*args):
        raise error("a fault")

    mp.save(method.attach(MODEL, rng()), tmp_path / "a")
    monkeypatch.setattr(mp.Method, "bind", fail)
    with pytest.raises(error, match="a fault"):
        mp.load_adaptation(tmp_path / "a", MODEL)


@pytest.mark.parametrize("method", FORMATS.values(), ids=FORMATS)
def test_a_file_for_other_layers_is_at_fault(tmp_path, method):
    mp.save(method.attach(MODEL, rng()), tmp_path / "a")
    file = tmp_path / "a/adapter_model.safetensors"
    save_file(load_file(file), file)  # without metadata, so that the base is not compared
    with pytest.raises(CheckpointError, match=r"/a/adapter_"):
        mp.load_adaptation(tmp_path / "a", decoder(replace(GPT2, width=16)))


@pytest.mark.parametrize("words", ["", [[1, "a"]], [1.5], [[[1]]], [None], [True]])
@pytest.mark.parametrize("init", ["text", "labels"])
def test_words_are_token_ids(tmp_path, words, init):
    γ = mp.Chain(mp.PromptTuning(2), mp.Adapter(2)).attach(MODEL, rng())
    mp.save(γ, tmp_path / "a")
    path = tmp_path / "a/adapter_config.json"
    settings = json.loads(path.read_text())
    settings["methods"][0] |= {"init": init, "words": words}
    path.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="words=.* must be a text or token ids"):
        mp.load_adaptation(tmp_path / "a", MODEL)


def test_a_length_that_the_file_cannot_fill_is_refused_before_it_is_made(tmp_path):
    γ = mp.Chain(mp.PromptTuning(2), mp.Adapter(2)).attach(MODEL, rng())
    mp.save(γ, tmp_path / "a")
    path = tmp_path / "a/adapter_config.json"
    settings = json.loads(path.read_text())
    settings["methods"][0] |= {"init": "text", "words": [1], "length": 10**12}
    path.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="far larger than the file"):
        mp.load_adaptation(tmp_path / "a", MODEL)


def test_plain_has_nothing_to_save(tmp_path):
    for γ in (mp.PLAIN, mp.Chain(), mp.Chain(mp.PLAIN, mp.LoRA(2).attach(MODEL, rng()))):
        with pytest.raises(CheckpointError, match="no parameters to save|leave it out"):
            mp.save(γ, tmp_path / "a")


HEADS = {
    "spans of a decoder": (lambda: mp.SpanClassifier(decoder(GPT2)), "score"),
    "tags of a decoder": (lambda: mp.TokenClassifier(decoder(GPT2), C, bias=True), "qa_outputs"),
    "spans of an encoder": (lambda: mp.SpanClassifier(encoder(BERT)), "classifier"),
    "texts of an encoder": (lambda: mp.Classifier(encoder(BERT), C, "cls", True), "qa_outputs"),
}


@pytest.mark.parametrize("name", HEADS)
def test_of_two_heads_in_a_file_the_models_own_is_read(tmp_path, name):
    """The other one is then an unexpected tensor, whatever the order of names in a set."""
    make, other = HEADS[name]
    model = make()
    γ = mp.Chain(mp.LoRA(2), mp.Probe()).attach(model, rng())
    mp.save(γ, tmp_path / "a")
    path = tmp_path / "a/adapter_model.safetensors"
    mp.load_adaptation(tmp_path / "a", model)
    W = np.zeros((2, model.config.width), "f4")
    save_file(load_file(path) | {f"base_model.model.{other}.weight": W}, path)
    with pytest.raises(CheckpointError, match=f"unexpected tensors, {other}.weight"):
        mp.load_adaptation(tmp_path / "a", model)


def test_of_two_foreign_heads_in_a_file_the_error_always_names_the_same(tmp_path):
    model = mp.SpanClassifier(decoder(GPT2))
    mp.save(mp.Chain(mp.LoRA(2), mp.Probe()).attach(model, rng()), tmp_path / "a")
    path = tmp_path / "a/adapter_model.safetensors"
    W = np.zeros((C, model.config.width), "f4")
    save_file(load_file(path) | {"base_model.model.score.weight": W}, path)
    with pytest.raises(
        CheckpointError, match=r"has score.weight: load it with Classifier\(model, 3"
    ):
        mp.load_adaptation(tmp_path / "a", MODEL)
