"""Modules that PEFT trains in full or writes beside others: copies, base weights, word heads."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minipeft import (
    Chain,
    Classifier,
    DoRA,
    FullFineTuning,
    LoRA,
    Probe,
    PromptTuning,
    Tensor,
    load_adaptation,
    save,
)
from minipeft.commands.folders import load_with_network
from minipeft.hf import CheckpointError
from minipeft.methods import BiasTuning
from tests.support.families import BERT, GPT2, LLAMA, attach_random, decoder, encoder, nudged
from tests.support.folder_edits import ADAPTER, TENSORS, set_fields

MODELS = {"gpt2": nudged(decoder(GPT2)), "llama": nudged(decoder(LLAMA))}
MODELS["bert"] = nudged(encoder(BERT))
IDS = np.array([[1, 2, 3, 4]])
H0 = "base_model.model.transformer.h.0."
HEAD = "base_model.model.cls.predictions."
EMBEDDING = "base_model.model.transformer.wte"


def save_as_peft(γ, folder, edit=lambda tensors: None, **settings):
    """Save γ without our metadata, with other settings, and the tensors after edit(tensors)."""
    save(γ, folder, dtype=np.float64)
    assert json.loads((folder / ADAPTER).read_text())["peft_type"] in ("LORA", "PROMPT_TUNING")
    set_fields(ADAPTER, **settings)(folder)
    tensors = load_file(folder / TENSORS)
    edit(tensors)
    save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, folder / TENSORS)
    return folder


def distance(model, γ, other):
    return np.abs(model(IDS, γ).data - model(IDS, other).data).max()


def with_embedding(model, change):
    """Return the model with other weights of the token embedding, and of a head tied to it."""
    W = model.tokens.W
    return model.map(lambda t: Tensor(t.data + change) if t is W else t)


# -- copies


def saved_in_full():
    """Return a LoRA beside an MLP that is trained in full, and all other biases."""
    biases = BiasTuning(r"^(?!blocks\.\d\.mlp)")
    return attach_random(Chain(LoRA(2), biases, FullFineTuning(r"mlp\.")), MODELS["gpt2"])


@pytest.mark.parametrize("infix", ["modules_to_save", "modules_to_save.default"])
@pytest.mark.parametrize("alone", [False, True], ids=["beside", "alone"])
def test_copies_of_modules_that_are_saved_are_read(tmp_path, infix, alone):
    """`alone`: the copy is there without the tensor of the usual name."""

    def add_copies(tensors):
        for name in [n for n in tensors if ".mlp." in n]:
            copy = name.replace(".mlp.", f".mlp.{infix}.")
            tensors[copy] = tensors.pop(name) if alone else tensors[name]
            tensors[name.replace(".mlp.", ".mlp.original_module.")] = tensors[copy] + 1

    γ, model = saved_in_full(), MODELS["gpt2"]
    folder = save_as_peft(γ, tmp_path / "a", add_copies, modules_to_save=["mlp"])
    assert distance(model, load_adaptation(folder, model), γ) < 1e-12


@pytest.mark.parametrize("infix", ["modules_to_save", "modules_to_save.default"])
@pytest.mark.parametrize("alone", [False, True], ids=["beside", "alone"])
def test_copies_of_a_head_are_read(tmp_path, infix, alone):
    model = Classifier(MODELS["bert"], 3, "cls", bias=True)
    γ = attach_random(Chain(LoRA(2), Probe()), model)

    def add_copies(tensors):
        for name in ("weight", "bias"):
            key = f"base_model.model.classifier.{name}"
            x = tensors.pop(key) if alone else tensors[key]
            tensors[f"base_model.model.classifier.{infix}.{name}"] = x
            tensors[f"base_model.model.classifier.original_module.{name}"] = x + 1

    folder = save_as_peft(γ, tmp_path / "a", add_copies)
    assert distance(model, load_adaptation(folder, model), γ) < 1e-12
    with pytest.raises(CheckpointError, match=r"Classifier\(model, 3, pool='cls', bias=True\)"):
        load_adaptation(folder, MODELS["bert"])
    again, network = load_with_network(folder, MODELS["bert"])
    assert np.abs(network(IDS, again).data - model(IDS, γ).data).max() < 1e-12


def test_copies_that_differ_are_refused(tmp_path):
    name, copy = f"{H0}mlp.c_fc.bias", f"{H0}mlp.modules_to_save.default.c_fc.bias"
    edit = lambda tensors: tensors.update({copy: tensors[name] + 1e-3})
    folder = save_as_peft(saved_in_full(), tmp_path / "a", edit, modules_to_save=["mlp"])
    says = r"h\.0\.mlp\.modules_to_save\.default\.c_fc\.bias and h\.0\.mlp\.c_fc\.bias differ"
    with pytest.raises(CheckpointError, match=says):
        load_adaptation(folder, MODELS["gpt2"])


@pytest.mark.parametrize("kind", ["modules_to_save", "original_module"])
def test_a_copy_of_no_module_is_refused(tmp_path, kind):
    edit = lambda tensors: tensors.update({f"{H0}{kind}.x.weight": np.ones(3)})
    folder = save_as_peft(saved_in_full(), tmp_path / "a", edit)
    with pytest.raises(CheckpointError, match=rf"unexpected tensors, h\.0\.{kind}"):
        load_adaptation(folder, MODELS["gpt2"])


def test_modules_beside_a_prompt_are_read(tmp_path):
    model = Classifier(MODELS["bert"], 3, "cls", bias=True)
    method = Chain(PromptTuning(2), FullFineTuning("pooler"), Probe())
    γ = attach_random(method, model)
    folder = save_as_peft(γ, tmp_path / "a", modules_to_save=["pooler", "classifier", "score"])
    assert distance(model, load_adaptation(folder, model), γ) < 1e-12


# -- weights of the base


@pytest.mark.parametrize("change", [0, 0.1])
@pytest.mark.parametrize("name", ["wte.base_layer.weight", "lm_head.base_layer.weight"])
def test_base_weights_of_an_adapted_layer_replace_the_models(tmp_path, name, change):
    """In PEFT too: of an embedding and of a head that is tied to it, one is enough."""
    model, path = MODELS["gpt2"], "^tokens$" if "wte" in name else "^head$"
    γ = attach_random(LoRA(2, targets=path), model)
    name = f"base_model.model.{'transformer.' * ('wte' in name)}{name}"
    edit = lambda tensors: tensors.update({name: model.tokens.W.data + change})
    again = load_adaptation(save_as_peft(γ, tmp_path / "a", edit), model)
    other = with_embedding(model, change)
    z = other(IDS, γ.method.bind(γ.at, other)).data
    assert np.abs(model(IDS, again).data - z).max() < 1e-12
    assert type(again) is (Chain if change else type(γ))
    save(again, tmp_path / "b", dtype=np.float64)
    assert distance(model, load_adaptation(tmp_path / "b", model), again) < 1e-12


def test_base_weights_in_half_precision_replace_the_models(tmp_path):
    """PEFT saves them in the precision in which it loaded the base."""
    model = MODELS["gpt2"]
    γ = attach_random(LoRA(2, targets="^tokens$"), model)
    half = model.tokens.W.data.astype(np.float16)
    edit = lambda tensors: tensors.update({f"{EMBEDDING}.base_layer.weight": half})
    again = load_adaptation(save_as_peft(γ, tmp_path / "a", edit), model)
    other = with_embedding(model, half - model.tokens.W.data)
    z = other(IDS, γ.method.bind(γ.at, other)).data
    assert np.abs(model(IDS, again).data - z).max() < 1e-12 < distance(model, again, γ)


def test_tied_base_weights_that_differ_are_refused(tmp_path):
    model = MODELS["gpt2"]
    W = model.tokens.W.data
    more = {f"{EMBEDDING}.weight": W, "base_model.model.lm_head.weight": W + 0.1}
    γ = attach_random(LoRA(2), model)
    folder = save_as_peft(γ, tmp_path / "a", lambda tensors: tensors.update(more))
    with pytest.raises(
        CheckpointError, match="wte and lm_head differ, but the model has them tied"
    ):
        load_adaptation(folder, model)


def test_other_base_weights_below_dora_are_refused(tmp_path):
    model = MODELS["llama"]
    γ = attach_random(DoRA(2, targets="^tokens$"), model)
    name = "base_model.model.model.embed_tokens.base_layer.weight"
    edit = lambda tensors: tensors.update({name: model.tokens.W.data + 0.1})
    with pytest.raises(CheckpointError, match="other weights of tokens .* DoRA can't be added"):
        load_adaptation(save_as_peft(γ, tmp_path / "a", edit), model)


# -- the word head of BERT


@pytest.mark.parametrize("name", ["cls", "predictions", "decoder", "cls.predictions.decoder"])
def test_a_word_head_that_is_saved_whole_is_read(tmp_path, name):
    """Its bias has two names.  That of `predictions` has no effect if only the decoder is saved."""
    inside = "^(head|transform)" if name in ("cls", "predictions") else "^head$"
    γ = attach_random(Chain(LoRA(2), FullFineTuning(inside)), MODELS["bert"])

    def edit(tensors):
        change = 0 if name in ("cls", "predictions") else 1
        tensors[f"{HEAD}bias"] = tensors[f"{HEAD}decoder.bias"] + change

    folder = save_as_peft(γ, tmp_path / "a", edit, modules_to_save=[name])
    assert distance(MODELS["bert"], load_adaptation(folder, MODELS["bert"]), γ) < 1e-12


@pytest.mark.parametrize("method", [LoRA, DoRA])
def test_a_word_head_that_is_adapted_is_read(tmp_path, method):
    model = MODELS["bert"]
    lora = method(2, targets=r"^(head|transform\.dense)$|attn\.q$")
    γ = attach_random(Chain(lora, BiasTuning("")), model)
    edit = lambda tensors: tensors.update(
        {f"{HEAD}bias": tensors[f"{HEAD}decoder.base_layer.bias"]}
    )
    folder = save_as_peft(γ, tmp_path / "a", edit)
    assert "cls.predictions.decoder" in json.loads((folder / ADAPTER).read_text())["target_modules"]
    assert distance(model, load_adaptation(folder, model), γ) < 1e-12


@pytest.mark.parametrize("targets, infix", [("q$", ""), ("^head$", "base_layer.")])
def test_two_biases_of_a_word_head_that_differ_are_refused(tmp_path, targets, infix):
    γ = attach_random(Chain(LoRA(2, targets=targets), BiasTuning("")), MODELS["bert"])
    edit = lambda ts: ts.update({f"{HEAD}bias": ts[f"{HEAD}decoder.{infix}bias"] + 1})
    says = rf"cls\.predictions\.({infix}|decoder.{infix})bias and .*decoder\.bias differ"
    with pytest.raises(CheckpointError, match=says):
        load_adaptation(save_as_peft(γ, tmp_path / "a", edit), MODELS["bert"])
