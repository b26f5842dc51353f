"""Heads: in the folders of models and of adaptations."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from minipeft import Classifier, Features, Probe, SpanClassifier, Tensor, TokenClassifier
from minipeft.hf import CheckpointError, load, load_adaptation, save
from minipeft.model.heads import Head
from tests.support.families import C, attached
from tests.support.folder_edits import CONFIG, MODEL, TENSORS, set_fields
from tests.support.folders import BERT, GPT2, IDS, LLAMA, SAVED, assert_same, logits, read_config


def test_special_tokens_and_labels_of_a_folder_are_kept(tmp_path):
    save(Classifier(GPT2, 3), tmp_path / "m")
    labels = {"0": "bad", "1": "fair", "2": "good"}
    fields = {"eos_token_id": [1, 2], "pad_token_id": 5, "id2label": labels}
    set_fields(CONFIG, **fields)(tmp_path / "m")
    save(load(tmp_path / "m"), tmp_path / "again")
    again = json.loads((tmp_path / "again/config.json").read_text())
    assert {name: again[name] for name in fields} == fields
    save(Classifier(load(tmp_path / "again"), 2), tmp_path / "other")
    other = json.loads((tmp_path / "other/config.json").read_text())
    assert other["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"} and other["pad_token_id"] == 5


@pytest.mark.parametrize("model", [GPT2, BERT], ids=["gpt2", "bert"])
def test_features_are_saved_without_the_head(tmp_path, model):
    save(Features(model), tmp_path / "m", dtype=np.float64)
    assert not [n for n in load_file(tmp_path / "m" / MODEL) if "cls" in n or "head" in n]
    loaded = load(tmp_path / "m")
    found, expected = Features(loaded)(IDS).data, Features(model)(IDS).data
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


# -- adaptations of models with a head


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("base, pool", [(GPT2, "last"), (BERT, "cls")], ids=["gpt2", "bert"])
def test_an_adaptation_with_a_head_is_loaded_as_it_was(tmp_path, name, base, pool):
    model = Classifier(base, C, pool)
    γ = attached(name, model)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert_same(load_adaptation(tmp_path / "a", model, resume=True), γ)
    assert np.array_equal(logits(model, load_adaptation(tmp_path / "a", model)), logits(model, γ))


def test_a_probe_alone_in_float32_is_loaded_as_it_was(tmp_path):
    model = Classifier(GPT2.astype(np.float32), C)
    γ = Probe().attach(model).map(lambda p: Tensor(p.data + np.float32(0.1), requires_grad=True))
    save(γ, tmp_path / "a")
    assert_same(load_adaptation(tmp_path / "a", model), γ)


def test_a_probe_trained_on_features_is_loaded_for_their_model(tmp_path):
    model = Classifier(GPT2, C)
    probe = Probe().attach(Head(model.score, model.config))
    trained = probe.map(lambda p: Tensor(p.data + 0.1, requires_grad=True))
    save(trained, tmp_path / "a", dtype=np.float64)
    assert_same(load_adaptation(tmp_path / "a", model), trained)


@pytest.mark.parametrize(
    "name, key",
    [("lora", "base_model.model.score.weight"), ("prefix of 2", "base_model.score.weight")],
)
def test_a_head_has_the_name_that_peft_gives_it(tmp_path, name, key):
    save(attached(name, Classifier(GPT2, C)), tmp_path / "a")
    assert read_config(tmp_path / "a")["task_type"] == "SEQ_CLS"
    assert load_file(tmp_path / "a" / TENSORS)[key].shape == (C, GPT2.config.width)
    with pytest.raises(CheckpointError, match=r"score.weight: load it with Classifier\(model, 3"):
        load_adaptation(tmp_path / "a", GPT2)


@pytest.mark.parametrize(
    "saved_for, loaded_for, message",
    [
        (Classifier(GPT2, C), TokenClassifier(GPT2, C, True), r"Classifier\(model, 3, bias=False"),
        (TokenClassifier(LLAMA, C), Classifier(LLAMA, C), r"TokenClassifier\(model, 3, bias=True"),
        (SpanClassifier(GPT2), GPT2, r"SpanClassifier\(model, bias=True\)"),
        (
            Classifier(GPT2, C),
            Classifier(GPT2, 2),
            r"score.weight has shape \(3, 8\), but must have \(2, 8",
        ),
    ],
)
def test_a_head_is_not_loaded_for_another_kind(tmp_path, saved_for, loaded_for, message):
    save(attached("lora", saved_for), tmp_path / "a")
    with pytest.raises(CheckpointError, match=message):
        load_adaptation(tmp_path / "a", loaded_for)
