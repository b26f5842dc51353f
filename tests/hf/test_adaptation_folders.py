"""Folders of adaptations: what is saved is loaded again, and PEFT's format is read and written."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minipeft import Chain, FullFineTuning, LoRA, PrefixTuning
from minipeft.adaptation.merge import fold
from minipeft.hf import load_adaptation, save
from tests.support import families
from tests.support.families import attached, decoder
from tests.support.folder_edits import ENCODER, TENSORS, drop_metadata
from tests.support.folders import (
    BERT,
    GPT2,
    LLAMA,
    SAVED,
    assert_same,
    logits,
    read_config,
    write_adaptation,
)

EVERYWHERE = r"attn\.[qkvo]$|mlp\.(up|down)$"


@pytest.mark.parametrize("name", SAVED)
def test_an_adaptation_is_loaded_as_it_was(tmp_path, name):
    γ = attached(name, GPT2)
    save(γ, tmp_path / "a", dtype=np.float64)
    loaded = load_adaptation(tmp_path / "a", GPT2, resume=True)
    assert_same(loaded, γ)
    same_kind = loaded.signature() == γ.signature()
    assert repr(loaded) == repr(γ) and same_kind == (name != "fusion")  # its adapters are a copy
    assert loaded.made_for == γ.made_for and loaded.made_for.config == families.GPT2
    assert np.array_equal(logits(GPT2, loaded), logits(GPT2, γ))
    assert np.array_equal(logits(GPT2, load_adaptation(tmp_path / "a", GPT2)), logits(GPT2, γ))


@pytest.mark.parametrize("name", SAVED)
def test_an_adaptation_has_the_dtype_of_the_model(tmp_path, name):
    save(attached(name, GPT2), tmp_path / "a")  # in float32
    loaded = load_adaptation(tmp_path / "a", GPT2, resume=True)
    assert {p.dtype for p in loaded.parameters()} == {np.dtype(np.float64)}


def test_a_reparametrisation_is_loaded_to_resume_and_otherwise_folded(tmp_path):
    γ = attached("encoded prefix", GPT2)
    save(γ, tmp_path / "a", dtype=np.float64)
    assert (tmp_path / "a" / ENCODER).exists()
    folded = load_adaptation(tmp_path / "a", GPT2)
    assert folded.method == γ.method.method
    assert_same(folded, fold(γ))
    assert load_adaptation(tmp_path / "a", GPT2, resume=True).method == γ.method


def test_without_metadata_an_adaptation_is_loaded_for_any_base(tmp_path):
    γ = attached("lora", GPT2)
    save(γ, tmp_path / "a", dtype=np.float64)
    drop_metadata(tmp_path / "a" / TENSORS)
    model = decoder(families.GPT2).astype(np.float64)
    loaded = load_adaptation(tmp_path / "a", model)
    other = γ.method.bind(γ.at, model)
    assert np.abs(logits(model, loaded) - logits(model, other)).max() <= 1e-12
    assert np.abs(logits(model, loaded) - logits(model)).max() > 1e-2


@pytest.mark.parametrize("targets", ["ln2$", r"1\.ln2$"])
@pytest.mark.parametrize("model", [GPT2, BERT], ids=["gpt2", "bert"])
def test_layers_in_full_beside_a_lora_are_loaded(tmp_path, model, targets):
    γ = Chain(LoRA(2), FullFineTuning(targets)).attach(model, np.random.default_rng(0))
    save(γ, tmp_path / "a", dtype=np.float64)
    drop_metadata(tmp_path / "a" / TENSORS)
    assert load_adaptation(tmp_path / "a", model).parts[1].at.keys() == γ.parts[1].at.keys()


# -- PEFT's format

LORA = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 3, "unheard": [1]}
C_ATTN = "base_model.model.transformer.h.{}.attn.c_attn.lora_{}.weight"


def lora_arrays(r=2):
    rng, D = np.random.default_rng(0), GPT2.config.width
    A = {C_ATTN.format(n, "A"): rng.normal(size=(r, D)) for n in range(2)}
    return A | {C_ATTN.format(n, "B"): rng.normal(size=(3 * D, r)) for n in range(2)}


def test_a_lora_of_c_attn_is_one_A_for_q_k_and_v(tmp_path):
    γ = load_adaptation(write_adaptation(tmp_path / "a", LORA, lora_arrays()), GPT2)
    q, k, v = (γ.at[f"blocks.0.attn.{name}"] for name in "qkv")
    assert q["A"] is k["A"] is v["A"] and len(γ.parameters()) == 2 * (1 + 3)
    assert γ.method.targets == r"(attn\.q|attn\.k|attn\.v)$"
    assert len(γ.method.attach(GPT2, np.random.default_rng(0)).parameters()) == 2 * (1 + 3)
    save(γ, tmp_path / "again", dtype=np.float64)
    config, arrays = read_config(tmp_path / "again"), load_file(tmp_path / "again" / TENSORS)
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (2, 3, ["attn.c_attn"])
    assert arrays.keys() == lora_arrays().keys()
    assert all(np.array_equal(x, arrays[name]) for name, x in lora_arrays().items())


@pytest.mark.parametrize(
    "targets", [r"attn\.[qv]$", r"attn\.k$", EVERYWHERE, r"0\.attn\.[qv]|1\.attn\.k|1\.mlp\.up"]
)
def test_a_lora_in_peft_s_format_computes_the_same(tmp_path, targets):
    γ = LoRA(3, 5, targets=targets).attach(GPT2, np.random.default_rng(0))
    for p in γ.parameters():
        p.data = np.random.default_rng(1).normal(size=p.shape)
    save(γ, tmp_path / "a", dtype=np.float64)
    config = read_config(tmp_path / "a")
    assert "minipeft" not in config  # PEFT warns of fields that it does not know
    ranks = [config["r"], *config["rank_pattern"].values()]
    alphas = [config["lora_alpha"], *config["alpha_pattern"].values()]
    assert [a / r for a, r in zip(alphas, ranks)] == pytest.approx([5 / 3] * len(ranks))
    drop_metadata(tmp_path / "a" / TENSORS)
    loaded = load_adaptation(tmp_path / "a", GPT2)
    np.testing.assert_allclose(logits(GPT2, loaded), logits(GPT2, γ), rtol=0, atol=1e-12)


def test_ranks_and_scales_of_single_modules_are_read(tmp_path):
    D, arrays = GPT2.config.width, lora_arrays()
    config = LORA | {"use_rslora": True, "rank_pattern": {"h.1.attn.c_attn": 4}}
    arrays |= {C_ATTN.format(1, "A"): np.ones((4, D)), C_ATTN.format(1, "B"): np.ones((3 * D, 4))}
    γ = load_adaptation(write_adaptation(tmp_path / "a", config, arrays), GPT2)
    for n, r in ((0, 2), (1, 4)):
        path = f"blocks.{n}.attn.v"
        (lora,) = [part for part in γ.parts if path in part.at]
        product = lora.method.scale * lora.at[path]["A"].data @ lora.at[path]["B"].data
        A, B = (arrays[C_ATTN.format(n, name)] for name in "AB")
        np.testing.assert_allclose(product, 3 / r**0.5 * A.T @ B.T[:, 2 * D :], atol=1e-12)


def test_the_columns_of_a_prefix_are_k0_v0_k1_v1(tmp_path):
    P = np.arange(3 * 4 * 8.0).reshape(3, 32)
    config = {"peft_type": "PREFIX_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 3}
    γ = load_adaptation(write_adaptation(tmp_path / "a", config, {"prompt_embeddings": P}), GPT2)
    assert γ.method == PrefixTuning(3)
    places = [(f"blocks.{n}.attn", name) for n in (0, 1) for name in ("P_key", "P_value")]
    for i, (path, name) in enumerate(places):
        assert np.array_equal(γ.at[path][name].data, P[:, 8 * i : 8 * i + 8])


@pytest.mark.parametrize(
    "name, peft_type",
    {
        "prefix that shifts nothing": "MINIPEFT_PREFIXTUNING",
        "prefix in the upper layer": "MINIPEFT_PREFIXTUNING",
        "houlsby": "MINIPEFT_ADAPTER",
        "full": "MINIPEFT_FULLFINETUNING",
        "chain": "MINIPEFT_CHAIN",
        "encoded prefix": "PREFIX_TUNING",
        "lora": "LORA",
    }.items(),
)
def test_what_peft_does_not_have_is_saved_in_minipeft_s_format(tmp_path, name, peft_type):
    save(attached(name, GPT2), tmp_path / "a", dtype=np.float64)
    config, arrays = read_config(tmp_path / "a"), load_file(tmp_path / "a" / TENSORS)
    assert config["peft_type"] == peft_type
    if name == "houlsby":
        assert config["bottleneck"] == 3 and "blocks.0.attn.o.D" in arrays


@pytest.mark.parametrize("resized", [False, True])
def test_embeddings_that_peft_saves_beside_are_read_if_they_differ(tmp_path, resized):
    save(attached("lora", LLAMA), tmp_path / "a", dtype=np.float64)
    path = tmp_path / "a" / TENSORS
    W, head = LLAMA.tokens.W.data + resized, LLAMA.head.W.data.T + resized
    more = {"model.embed_tokens.weight": W, "lm_head.weight": np.ascontiguousarray(head)}
    save_file(load_file(path) | {f"base_model.model.{n}": x for n, x in more.items()}, path)
    γ = load_adaptation(tmp_path / "a", LLAMA)
    if resized:
        assert γ.parts[1].method == FullFineTuning(targets="(tokens|head)$")
        in_full = dict(γ.parts[1].named_parameters())
        assert np.array_equal(in_full["tokens.W"].data, W)
        assert np.array_equal(in_full["head.W"].data, head.T)
    else:
        assert γ.method == LoRA(2, 3, targets=r"(attn\.q|attn\.v)$")
