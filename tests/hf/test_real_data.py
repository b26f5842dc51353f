"""Adaptations that others trained: they are loaded, have their published sizes, and merge."""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file

import minipeft as mp
from minipeft.autograd.nn import Linear, size
from tests.support.folder_edits import TENSORS
from tests.support.folders import write_adaptation
from tests.support.real import real

IDS = np.random.default_rng(0).integers(0, 11, (2, 5))


def check_saved(γ, arrays, folder):
    """Raise AssertionError unless a save has these arrays, bit for bit."""
    mp.save(γ, folder)
    saved = load_file(folder / TENSORS)
    assert {*saved} == {*arrays} and all(np.array_equal(saved[n], arrays[n]) for n in saved)


def check_merged(model, γ):
    """Raise AssertionError unless merging γ gives the logits of γ, which differ from the base's."""
    adapted, merged = model(IDS, γ).data, mp.merge(model, γ)(IDS).data
    assert np.abs(merged - adapted).max() < 1e-9 * np.abs(adapted).max()
    assert np.abs(model(IDS).data - adapted).max() > 1e-2


def with_path(layer, path):
    layer.path = path
    return layer


# -- (IA)³ of T0-3B: Liu et al. 2022, github.com/r-three/t-few


@pytest.fixture(scope="module")
def t0():
    with np.load(real("real_ia3_t03b/ia3.npz")) as file:
        return dict(file)


def test_the_vectors_of_t0_are_near_one(t0):
    numbers = np.concatenate([l.ravel() for l in t0.values()])
    assert len(t0) == 192 and numbers.size == 540_672 == 24 * (4096 + 5120) + 24 * (8192 + 5120)
    assert abs(numbers.mean() - 1) < 0.01 and 0.05 < numbers.std() < 0.1
    assert np.mean(abs(numbers - 1) < 0.2) > 0.95


def test_each_vector_of_t0_scales_the_rows_or_columns_of_W(t0):
    rng, ia3 = np.random.default_rng(0), mp.IA3()
    down = with_path(Linear(5120, 8, rng), "mlp.down")  # T-Few's wi_1 scales its input
    outputs = {k: with_path(Linear(8, 2048, rng), f"attn.{k}") for k in "kv"}
    for name, l in t0.items():
        layer = down if "wi_1" in name else outputs[name.split(".")[-2]]
        x, l = rng.normal(size=(3, layer.shape[0])), mp.Tensor(l.T.astype(np.float64))
        W = l.data.T * layer.W.data if layer is down else layer.W.data * l.data
        adapted = ia3.apply(layer, mp.Tensor(x), l=l).data
        assert np.allclose(adapted, x @ W, rtol=0, atol=1e-10)
        assert np.array_equal(layer.replace(**ia3.weights(layer, l=l)).W.data, W)


def test_the_encoder_of_t0_is_loaded_from_peft_s_format(t0, tmp_path):
    sizes = {"vocabulary": 11, "width": 16, "layers": 24, "heads": 32, "length": 8}
    kind = {"norm": "rms", "positions": "rotary", "gated": True, "activation": "silu", "biases": ()}
    config = mp.Config(**sizes, head_width=64, ffn_width=5120, **kind)
    model = mp.Decoder(config, np.random.default_rng(0)).astype(np.float64)
    modules = {"k": "self_attn.k_proj", "v": "self_attn.v_proj", "wi_1": "mlp.down_proj"}
    arrays = {}
    for name, l in t0.items():
        if match := re.match(r"encoder\.block\.(\d+)\.layer\.\d\.\w+\.(k|v|wi_1)\.", name):
            n, which = match.groups()
            x = l.T if which == "wi_1" else l
            arrays[f"base_model.model.model.layers.{n}.{modules[which]}.ia3_l"] = x
    config = {
        "peft_type": "IA3",
        "target_modules": ["k_proj", "v_proj", "down_proj"],
        "feedforward_modules": ["down_proj"],
    }
    γ = mp.load_adaptation(write_adaptation(tmp_path / "t0", config, arrays), model)
    assert isinstance(γ.method, mp.IA3) and size(γ) == 24 * (2 * 2048 + 5120)
    check_merged(model, γ)
    check_saved(γ, arrays, tmp_path / "again")


# -- LoRA of RoBERTa for MNLI: Hu et al. 2021, github.com/microsoft/LoRA


@pytest.fixture(scope="module")
def mnli():
    with np.load(real("real_lora_roberta_mnli/lora_only.npz")) as file:
        return dict(file)


def test_the_products_of_mnli_have_rank_8(mnli):
    rng, lora = np.random.default_rng(0), mp.LoRA(rank=8, alpha=16)
    assert len(mnli) == 48 and sum(x.size for x in mnli.values()) == 294_912
    layer = with_path(Linear(768, 768, rng), "attn.q")
    layer = layer.replace(W=mp.Tensor(rng.normal(size=(768, 768))))
    x, sketch = rng.normal(size=(3, 768)), rng.normal(size=(768, 16))
    for name in [name for name in mnli if name.endswith("lora_A")]:
        A, B = (mnli[name[:-1] + s].astype(np.float64) for s in "AB")
        σ = np.linalg.svd(B @ A @ sketch, compute_uv=False)  # of B A itself: 20 s
        assert σ[7] > 1e-9 * σ[0] and σ[8] < 1e-12 * σ[0]
        A, B = mp.Tensor(A.T), mp.Tensor(B.T)
        merged = layer.replace(**lora.weights(layer, A=A, B=B))
        y = lora.apply(layer, mp.Tensor(x), A=A, B=B).data
        assert np.allclose(y, x @ layer.W.data + 2 * (x @ A.data) @ B.data, rtol=0, atol=1e-10)
        assert np.allclose(merged(mp.Tensor(x)).data, y, rtol=0, atol=1e-10)


def test_the_lora_for_mnli_is_loaded_from_peft_s_format(mnli, tmp_path):
    config = mp.BertConfig(11, 768, layers=2, heads=12, length=8, ffn_width=16)
    model = mp.Encoder(config, np.random.default_rng(0)).astype(np.float64)
    first = {n: x for n, x in mnli.items() if re.match(r"roberta\.encoder\.layer\.[01]\.", n)}
    arrays = {n.replace("roberta", "base_model.model") + ".weight": x for n, x in first.items()}
    config = {
        "peft_type": "LORA",
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["query", "value"],
    }
    γ = mp.load_adaptation(write_adaptation(tmp_path / "mnli", config, arrays), model)
    assert isinstance(γ.method, mp.LoRA) and size(γ) == 2 * 2 * 2 * 8 * 768
    check_merged(model, γ)
    check_saved(γ, arrays, tmp_path / "again")


# -- prompts of T5: Lester et al. 2021, github.com/google-research/prompt-tuning


@pytest.mark.parametrize("task, norm", [("mrpc", 868), ("rte", 903), ("sst2", 1385)])
def test_the_prompts_of_google_are_loaded_from_peft_s_format(tmp_path, task, norm):
    P = np.load(real(f"google_soft_prompts/t5_1_1_lm100k_base_{task}.npy"))
    assert round(np.linalg.norm(P, axis=1).mean()) == norm  # of words: 1 to 10
    assert 32 < P.std() < 52
    config = mp.Config(vocabulary=11, width=768, layers=1, heads=12, length=120, ffn_width=16)
    model = mp.Decoder(config, np.random.default_rng(0)).astype(np.float64)
    arrays = {"prompt_embeddings": P}
    config = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": 100,
    }
    γ = mp.load_adaptation(write_adaptation(tmp_path / task, config, arrays), model)
    assert isinstance(γ.method, mp.PromptTuning) and γ.method.length == 100 and size(γ) == 76_800
    check_saved(γ, arrays, tmp_path / "again")
    words = mp.Tensor(np.concatenate([model.tokens.W.data, P]))  # the prompt as 100 more words
    extended = model.map(lambda t: words if t is model.tokens.W else t)
    extended.config = mp.Config(111, 768, layers=1, heads=12, length=120, ffn_width=16)
    ids = np.concatenate([np.tile(np.arange(11, 111), (2, 1)), IDS], axis=1)
    z = extended(ids).data[:, 100:, :11]
    assert np.abs(model(IDS, γ).data - z).max() < 1e-9 * np.abs(z).max()
