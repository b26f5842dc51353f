"""Adaptations that others trained: they load, have the counts that are told of them, and merge."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft.autograd.nn import Linear, size
from tests.support.real import real

IDS = np.random.default_rng(0).integers(0, 11, (2, 5))


def folder_of(path, tensors, **config):
    """A folder as PEFT writes it."""
    path.mkdir()
    save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, path / FILE)
    (path / "adapter_config.json").write_text(json.dumps(config))
    return path


FILE = "adapter_model.safetensors"


def comes_back(γ, tensors, folder):
    """What we save of it are the same tensors, to the bit."""
    mp.save(γ, folder)
    again = load_file(folder / FILE)
    assert {*again} == {*tensors} and all(np.array_equal(again[n], tensors[n]) for n in again)


def merges(model, γ):
    """The model with γ in its weights says what it says with γ beside it, and not what it said."""
    live, merged = model(IDS, γ).data, mp.merge(model, γ)(IDS).data
    assert np.abs(merged - live).max() < 1e-9 * np.abs(live).max()
    assert np.abs(model(IDS).data - live).max() > 1e-2


def alone(layer, path):
    layer.path = path
    return layer


# -- (IA)³ of T0-3B: Liu et al. 2022, github.com/r-three/t-few


@pytest.fixture(scope="module")
def t0():
    with np.load(real("real_ia3_t03b/ia3.npz")) as file:
        return dict(file)


def test_the_vectors_of_t0_are_near_one(t0):
    whole = np.concatenate([l.ravel() for l in t0.values()])
    assert len(t0) == 192 and whole.size == 540_672 == 24 * (4096 + 5120) + 24 * (8192 + 5120)
    assert abs(whole.mean() - 1) < 0.01 and 0.05 < whole.std() < 0.1
    assert np.mean(abs(whole - 1) < 0.2) > 0.95


def test_each_vector_of_t0_is_a_diagonal(t0):
    rng, γ = np.random.default_rng(0), mp.IA3()
    read = alone(Linear(5120, 8, rng), "mlp.down")  # its input is what T-Few scales of wi_1
    write = {k: alone(Linear(8, 2048, rng), f"attn.{k}") for k in "kv"}
    for name, l in t0.items():
        layer = read if "wi_1" in name else write[name.split(".")[-2]]
        x, l = rng.normal(size=(3, layer.shape[0])), mp.Tensor(l.T.astype(np.float64))
        diagonal = l.data.T * layer.W.data if layer is read else layer.W.data * l.data
        live = γ.apply(layer, mp.Tensor(x), l).data
        assert np.allclose(live, x @ diagonal, rtol=0, atol=1e-10)
        assert np.array_equal(layer.replace(**γ.weights(layer, l)).W.data, diagonal)


def test_t0s_encoder_is_a_folder_of_pefts(t0, tmp_path):
    sizes = {"vocabulary": 11, "width": 16, "layers": 24, "heads": 32, "length": 8}
    kind = {"norm": "rms", "positions": "rotary", "gated": True, "activation": "silu", "biases": ()}
    config = mp.Config(**sizes, head_width=64, ffn_width=5120, **kind)
    model = mp.Decoder(config, np.random.default_rng(0)).astype(np.float64)
    tensors = {}
    for name, l in t0.items():
        if found := re.match(r"encoder\.block\.(\d+)\.layer\.\d\.\w+\.(k|v|wi_1)\.", name):
            n, which = found.groups()
            module = {"k": "self_attn.k_proj", "v": "self_attn.v_proj", "wi_1": "mlp.down_proj"}
            x = l.T if which == "wi_1" else l
            tensors[f"base_model.model.model.layers.{n}.{module[which]}.ia3_l"] = x
    targets = {"target_modules": ["k_proj", "v_proj", "down_proj"]}
    folder = folder_of(
        tmp_path / "t0", tensors, peft_type="IA3", feedforward_modules=["down_proj"], **targets
    )
    γ = mp.load_adaptation(folder, model)
    assert isinstance(γ, mp.IA3) and size(γ) == 24 * (2 * 2048 + 5120)
    merges(model, γ)
    comes_back(γ, tensors, tmp_path / "again")


# -- LoRA of RoBERTa for MNLI: Hu et al. 2021, github.com/microsoft/LoRA


@pytest.fixture(scope="module")
def mnli():
    with np.load(real("real_lora_roberta_mnli/lora_only.npz")) as file:
        return dict(file)


def test_the_products_of_mnli_are_of_rank_8(mnli):
    rng, γ = np.random.default_rng(0), mp.LoRA(rank=8, alpha=16)
    assert len(mnli) == 48 and sum(x.size for x in mnli.values()) == 294_912
    layer = alone(Linear(768, 768, rng), "attn.q").replace(W=mp.Tensor(rng.normal(size=(768, 768))))
    x, sketch = rng.normal(size=(3, 768)), rng.normal(size=(768, 16))
    for name in [name for name in mnli if name.endswith("lora_A")]:
        A, B = (mnli[name[:-1] + s].astype(np.float64) for s in "AB")
        σ = np.linalg.svd(B @ A @ sketch, compute_uv=False)  # of B A: 20 s
        assert σ[7] > 1e-9 * σ[0] and σ[8] < 1e-12 * σ[0]
        A, B = mp.Tensor(A.T), mp.Tensor(B.T)
        merged = layer.replace(**γ.weights(layer, A, B))
        live = γ.apply(layer, mp.Tensor(x), A, B).data
        assert np.allclose(live, x @ layer.W.data + 2 * (x @ A.data) @ B.data, rtol=0, atol=1e-10)
        assert np.allclose(merged(mp.Tensor(x)).data, live, rtol=0, atol=1e-10)


def test_mnlis_lora_is_a_folder_of_pefts(mnli, tmp_path):
    config = mp.BertConfig(11, 768, layers=2, heads=12, length=8, ffn_width=16)
    model = mp.Encoder(config, np.random.default_rng(0)).astype(np.float64)
    first = {n: x for n, x in mnli.items() if re.match(r"roberta\.encoder\.layer\.[01]\.", n)}
    tensors = {n.replace("roberta", "base_model.model") + ".weight": x for n, x in first.items()}
    folder = folder_of(
        tmp_path / "mnli",
        tensors,
        peft_type="LORA",
        r=8,
        lora_alpha=16,
        target_modules=["query", "value"],
    )
    γ = mp.load_adaptation(folder, model)
    assert isinstance(γ, mp.LoRA) and size(γ) == 2 * 2 * 2 * 8 * 768
    merges(model, γ)
    comes_back(γ, tensors, tmp_path / "again")


# -- prompts of T5: Lester et al. 2021, github.com/google-research/prompt-tuning


@pytest.mark.parametrize("task,norm", [("mrpc", 868), ("rte", 903), ("sst2", 1385)])
def test_googles_prompts_are_folders_of_pefts(tmp_path, task, norm):
    P = np.load(real(f"google_soft_prompts/t5_1_1_lm100k_base_{task}.npy"))
    assert round(np.linalg.norm(P, axis=1).mean()) == norm  # of words: 1 to 10
    assert 32 < P.std() < 52
    config = mp.Config(vocabulary=11, width=768, layers=1, heads=12, length=120, ffn_width=16)
    model = mp.Decoder(config, np.random.default_rng(0)).astype(np.float64)
    tensors, kind = {"prompt_embeddings": P}, {"task_type": "CAUSAL_LM"}
    folder = folder_of(
        tmp_path / task, tensors, peft_type="PROMPT_TUNING", num_virtual_tokens=100, **kind
    )
    γ = mp.load_adaptation(folder, model)
    assert isinstance(γ, mp.PromptTuning) and γ.length == 100 and size(γ) == 76_800
    comes_back(γ, tensors, tmp_path / "again")
    words = mp.Tensor(np.concatenate([model.tokens.W.data, P]))  # as so many words more
    taught = model.map(lambda t: words if t is model.tokens.W else t)
    taught.config = mp.Config(111, 768, layers=1, heads=12, length=120, ffn_width=16)
    ids = np.concatenate([np.tile(np.arange(11, 111), (2, 1)), IDS], axis=1)
    z = taught(ids).data[:, 100:, :11]
    assert np.abs(model(IDS, γ).data - z).max() < 1e-9 * np.abs(z).max()
