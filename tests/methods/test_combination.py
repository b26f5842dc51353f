"""Weighted sums of LoRAs: alone with weight 1 each is itself, and how the ways differ."""

from dataclasses import replace

import numpy as np
import pytest

import minipeft as mp
from minipeft.methods.combination import WAYS

D, RANK = 8, 3
MODEL = mp.Decoder(mp.Config(11, D, 2, 2, 12), np.random.default_rng(0)).astype(np.float64)
IDS = np.random.default_rng(1).integers(0, 11, (2, 5))
QKV = r"attn\.[qkv]$"
LORAS = [
    mp.LoRA(rank=RANK, alpha=5),
    mp.LoRA(rank=RANK, alpha=5, rank_stabilised=True, targets=r"tokens$|mlp\.up$"),
    mp.LoRA(rank=RANK, targets=QKV, fused=True),
    mp.LoRA(rank=2 * D),
    mp.DoRA(rank=RANK, targets=QKV),
]
every_lora = pytest.mark.parametrize("method", LORAS, ids=repr)
every_way = pytest.mark.parametrize("how", WAYS)


def drawn(method, seed):
    """An adaptation with random numbers in place of its start."""
    γ = method.attach(MODEL, (rng := np.random.default_rng(seed)))
    return γ.map(lambda p: mp.Tensor(p.data + 0.3 * rng.normal(size=p.shape), requires_grad=True))


def updates(γ):
    """{path: (α/r) A B}."""
    return {path: γ.method.scale * p["A"].data @ p["B"].data for path, p in γ.at.items()}


def alike(a, b):
    np.testing.assert_allclose(MODEL(IDS, a).data, MODEL(IDS, b).data, rtol=1e-10, atol=1e-11)


@every_way
@every_lora
def test_weight_1_alone_is_the_adaptation_itself(method, how):
    a, b = drawn(method, 1), drawn(method, 2)
    alike(mp.combine([a], [1.0], how), a)
    alike(mp.combine([a, b], [1, 0], how), a)
    alike(mp.combine([a, b], [0, 1], how), b)


@every_lora
def test_concatenated_loras_are_the_weighted_sum_of_the_updates(method):
    a, b = drawn(method, 1), drawn(replace(method, rank=method.rank + 1, alpha=7), 2)
    γ, ΔW = mp.combine([a, b], [0.7, -2.0]), [updates(a), updates(b)]
    assert γ.method.rank == a.method.rank + b.method.rank
    for path, update in updates(γ).items():
        np.testing.assert_allclose(update, 0.7 * ΔW[0][path] - 2.0 * ΔW[1][path], atol=1e-12)


def test_svd_is_the_nearest_of_its_rank():
    a, b = (drawn(mp.LoRA(rank=r), seed) for r, seed in ((2, 1), (RANK, 2)))
    γ = mp.combine([a, b], [1.5, -1.0], "svd")
    assert γ.method.rank == RANK
    for path, update in updates(γ).items():
        exact = 1.5 * updates(a)[path] - updates(b)[path]
        rest = np.linalg.svd(exact)[1][RANK:]
        assert rest[0] > 1e-3
        np.testing.assert_allclose(np.linalg.norm(exact - update), np.linalg.norm(rest), rtol=1e-10)


def test_sums_have_products_of_one_with_the_other():
    a, b = (drawn(mp.LoRA(rank=RANK, alpha=alpha), seed) for alpha, seed in ((3, 1), (6, 2)))
    γ = mp.combine([a, b], [2.0, -1.0], "sum")
    for path, update in updates(γ).items():
        (A, B), (A2, B2) = ([p.data for p in m.at[path].values()] for m in (a, b))
        want = 2 * A @ B - 2 * A2 @ B2 + 2 * (A2 @ B - A @ B2)  # c α/r = 2 and -2
        np.testing.assert_allclose(update, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("how, shared", [("concat", True), ("sum", True), ("svd", False)])
def test_a_shared_A_stays_shared(how, shared, tmp_path):
    a, b = drawn(LORAS[2], 1), drawn(LORAS[2], 2)
    γ = mp.combine([a, b], [1.0, 1.0], how)
    q, k = (γ.at[f"blocks.0.attn.{name}"]["A"] for name in "qk")
    assert (q is k) == shared == γ.method.fused
    mp.save(γ, tmp_path / "γ")
    loaded = MODEL(IDS, mp.load_adaptation(tmp_path / "γ", MODEL))  # the file has float32
    np.testing.assert_allclose(loaded.data, MODEL(IDS, γ).data, atol=1e-5)


def test_the_m_of_doras_is_the_weighted_mean():
    a, b = drawn(LORAS[4], 1), drawn(LORAS[4], 2)
    γ, path = mp.combine([a, b], [3, 1]), "blocks.1.attn.v"
    m = [x.at[path]["m"].data for x in (γ, a, b)]
    np.testing.assert_allclose(m[0], 0.75 * m[1] + 0.25 * m[2], rtol=1e-12)
    with pytest.raises(ValueError, match="must not add up to 0"):
        mp.combine([a, b], [1, -1])


def test_a_combination_is_trained_and_keeps_the_dtype():
    model = mp.Decoder(mp.Config(11, D, 2, 2, 12), np.random.default_rng(0))
    a, b = (mp.LoRA().attach(model, np.random.default_rng(i)) for i in (1, 2))
    for how in WAYS:
        γ = mp.combine([a, b], [1, 1], how)
        assert all(p.dtype == np.float32 and p.requires_grad for p in γ.parameters())
        mp.Trainer(model, γ, mp.AdamW(γ.parameters())).step(IDS, IDS)


A, B = drawn(LORAS[0], 1), drawn(LORAS[0], 2)


@pytest.mark.parametrize(
    "arguments, text",
    [
        (([A], [1], "mean"), "how='mean' must be one of concat, svd, sum"),
        (([A, B], [1]), "got 2 adaptations and 1 weights"),
        (([], []), "got 0 adaptations"),
        (([A], [np.nan]), r"weights=\[nan\] must be finite"),
        (([A, B], [1j, 1]), r"weights=\[1j, 1\] must be finite numbers"),
        (([A, B], ["a", "b"]), r"weights=\['a', 'b'\] must be finite numbers"),
        (([A, B], [[1], [2]]), r"weights=\[\[1\], \[2\]\] must be finite numbers"),
        (([A, mp.BitFit().attach(MODEL)], [1, 1]), "only LoRA and DoRA can"),
        (([mp.stack([A, B])], [1]), "no bank of users"),
        (([A, drawn(LORAS[3], 1)], [1, 1], "sum"), "LoRAs of one rank; got 3 and 16"),
        (([A, drawn(LORAS[2], 1)], [1, 1]), r"methods or layers.*Chain\(\[a, b\]\) uses both"),
        (([A, drawn(mp.DoRA(rank=3), 1)], [1, 1]), "other methods or layers"),
    ],
)
def test_what_can_not_be_combined(arguments, text):
    with pytest.raises(ValueError, match=text):
        mp.combine(*arguments)


def test_what_to_do_with_other_layers_works():
    other = drawn(LORAS[2], 1)
    half, whole = mp.combine([other], [0.5]), updates(other)
    assert all(np.allclose(x, whole[path] / 2) for path, x in updates(half).items())
    W, added = MODEL.blocks[0].attn.q.W.data, updates(A)["blocks.0.attn.q"]
    both = mp.merge(MODEL, mp.Chain([A, half])).blocks[0].attn.q.W.data - W
    np.testing.assert_allclose(both, added + whole["blocks.0.attn.q"] / 2, atol=1e-12)


def test_adaptations_of_other_models_are_not_combined():
    other = mp.Decoder(mp.Config(11, D, 2, 2, 12), np.random.default_rng(9)).astype(np.float64)
    with pytest.raises(ValueError, match="models with other weights"):
        mp.combine([A, LORAS[0].attach(other, np.random.default_rng(0))], [1, 1])
