"""Which modules PEFT's settings name: full names, endings, patterns, and numbers of layers."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minipeft import Classifier, Features, LoRA, SpanClassifier, load_adaptation, save
from minipeft.hf import CheckpointError
from tests.support.families import BERT, GPT2, LLAMA, decoder, encoder, nudged
from tests.support.folder_edits import ADAPTER, TENSORS, set_fields

MODELS = {"gpt2": nudged(decoder(GPT2)), "llama": nudged(decoder(LLAMA))}
MODELS["bert"] = nudged(encoder(BERT))
Q_AND_UP = {  # full names of modules in block 0, and an ending of another kind of module
    "gpt2": ("transformer.h.0.attn.c_attn", "c_fc"),
    "llama": ("model.layers.0.self_attn.q_proj", "up_proj"),
    "bert": ("bert.encoder.layer.0.attention.self.query", "intermediate.dense"),
}


def adapted(tmp_path, model, targets, **settings):
    """Return the paths that are adapted, read with these settings from PEFT's folder."""
    γ = LoRA(2, targets=targets).attach(model, np.random.default_rng(0))
    save(γ, tmp_path / "a")
    save_file(load_file(tmp_path / "a" / TENSORS), tmp_path / "a" / TENSORS)  # without metadata
    set_fields(ADAPTER, **settings)(tmp_path / "a")
    again = load_adaptation(tmp_path / "a", model)
    at = {path: leaf for leaf in again.leaves() for path in leaf.at}
    assert len(at) == sum(len(leaf.at) for leaf in again.leaves())
    return {*at}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layers", [1, [1]], ids=str)
def test_numbers_of_layers_select_among_endings_alone(tmp_path, name, layers):
    full_name, ending = Q_AND_UP[name]
    targets = r"0\.attn\.[qkv]|1\.mlp\.up" if name == "gpt2" else r"0\.attn\.q|1\.mlp\.up"
    settings = {"target_modules": [full_name, ending], "layers_to_transform": layers}
    paths = {"blocks.0.attn.q", "blocks.1.mlp.up"}
    paths |= {"blocks.0.attn.k", "blocks.0.attn.v"} if name == "gpt2" else set()
    assert adapted(tmp_path, MODELS[name], targets, **settings) == paths


def test_a_head_is_a_full_name(tmp_path):
    settings = {"target_modules": ["lm_head", "q_proj"], "layers_to_transform": [0]}
    found = adapted(tmp_path, MODELS["llama"], r"^head$|0\.attn\.q", **settings)
    assert found == {"head", "blocks.0.attn.q"}


def test_numbers_of_layers_beside_a_pattern_are_refused(tmp_path):
    """PEFT refuses them too."""
    with pytest.raises(CheckpointError, match=r"layers_to_transform=\[1\] needs a list"):
        adapted(tmp_path, MODELS["llama"], "q$", target_modules=".*q_proj", layers_to_transform=1)


@pytest.mark.parametrize(
    "name, pattern, path",
    [
        ("llama", "lm_head", "head"),
        ("llama", r"(?!model\.).*", "head"),
        ("gpt2", "transformer.wte", "tokens"),
        ("bert", r"cls\.predictions\.decoder", "head"),
        ("bert", r"cls.*transform\.dense", "transform.dense"),
        ("bert", r"bert\.pooler\.dense", "pooler"),
    ],
)
def test_a_pattern_is_matched_against_the_full_name(tmp_path, name, pattern, path):
    assert adapted(tmp_path, MODELS[name], f"^{path}$", target_modules=pattern) == {path}


TRUNK = {"gpt2": "transformer", "llama": "model", "bert": "bert"}


@pytest.mark.parametrize("name", MODELS)
def test_no_pattern_matches_another_name(tmp_path, name):
    """The head of a language model is not in its trunk, and a trunk alone has no prefix."""
    model, query = MODELS[name], Q_AND_UP[name][0]
    for other, network, targets in (
        (rf"{TRUNK[name]}\.(lm_head|cls.*)", model, "^head$"),
        (rf"{TRUNK[name]}\..*", Features(model), "q$"),
        (rf"{TRUNK[name]}\.(score|classifier)", Classifier(model, 3), "q$"),
        (query.partition(".")[2], model, "q$"),
    ):
        with pytest.raises(CheckpointError, match="no layer matches target_modules="):
            adapted(tmp_path, network, targets, target_modules=other)


def test_the_trunk_below_a_span_head_has_one_name(tmp_path):
    """In Llama's question answering it is `transformer`; files may have either name."""
    model = SpanClassifier(MODELS["llama"])  # saved as Qwen2, whose names are Llama's
    pattern = r"transformer\.layers\.\d\.self_attn\.q_proj"
    assert len(adapted(tmp_path, model, "q$", target_modules=pattern)) == 2
    with pytest.raises(CheckpointError, match="no layer matches"):
        adapted(tmp_path, model, "q$", target_modules=pattern.replace("transformer", "model"))
    tensors = load_file(tmp_path / "a" / TENSORS)
    renamed = {name.replace(".transformer.", ".model."): x for name, x in tensors.items()}
    assert renamed != tensors
    save_file(renamed, tmp_path / "a" / TENSORS)
    set_fields(ADAPTER, target_modules=["q_proj"])(tmp_path / "a")
    assert len(load_adaptation(tmp_path / "a", model).at) == 2


def test_the_names_in_an_error_are_full_names(tmp_path):
    with pytest.raises(CheckpointError, match=r"the model has .*model\.layers\.0\.mlp\.up_proj"):
        adapted(tmp_path, MODELS["llama"], "q$", target_modules=["nothing"])
    assert json.loads((tmp_path / "a" / ADAPTER).read_text())["target_modules"] == ["nothing"]
