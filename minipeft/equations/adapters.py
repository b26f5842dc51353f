"""Adapters and LoRA: 003 §11.2.3.3 (the second); Houlsby et al. 2019; Hu et al. 2021."""

from types import SimpleNamespace

import numpy as np

from ..adapt import PLAIN, merge, trained
from ..methods import HOULSBY, PFEIFFER, Adapter, LoRA
from ..tensor import Tensor, grad
from .draw import columns, logits, size, watch
from .entry import EXACT, Differs, equation
from .literal import (
    block,
    embed,
    gelu,
    layer_norm,
    linear,
    mlp,
    place,
    self_attention,
    to_words,
)


def adapter(x, W_down, b_down, W_up, b_up):
    """Adapter(x) = x + W_up σ(W_down x), with the biases of the authors' code"""
    return x + W_up @ gelu(W_down @ x + b_down) + b_up


def adapted(θ, E, A_attn, A_mlp):
    """An adapter behind each sub-layer, before its residual is added; none where it is None"""
    X = place(θ, E)
    after = lambda A, x: x if A is None else adapter(x, *A)
    for layer, A_1, A_2 in zip(θ.blocks, A_attn, A_mlp):
        X = X + after(A_1, self_attention(layer.attn, layer_norm(layer.ln1, X)))
        X = X + after(A_2, mlp(layer.mlp, layer_norm(layer.ln2, X)))
    return to_words(θ, layer_norm(θ.ln, X))


def adapted_between(θ, E, As):
    """An adapter behind each layer, after the residual"""
    X = place(θ, E)
    for layer, A in zip(θ.blocks, As):
        X = adapter(block(layer, X), *A)
    return to_words(θ, layer_norm(θ.ln, X))


def adapter_size(d, r):
    """W_down, W_up, b_down, b_up"""
    return 2 * r * d + r + d


def lora(W_0, b, A, B, α, x):
    """h = W₀x + (α/r) B A x"""
    return W_0 @ x + b + α / len(A) * B @ A @ x


def lora_gradients(A, B, α, x, G):
    """dA = (α/r) BᵀG xᵀ,  dB = (α/r) G (Ax)ᵀ        for G = ∂ℓ/∂h"""
    return α / len(A) * B.T @ G @ x.T, α / len(A) * G @ (A @ x).T


def times(γ, *factors):
    """Other adapters, with D, b, U and c each multiplied by its factor."""
    by = {id(p): f for added in γ.at.values() for p, f in zip(added, factors)}
    return γ.map(lambda p: trained(by[id(p)] * p.data))


@equation("AD-1")
def bottleneck(draw):
    """Adapter(x) = x + W_up σ(W_down x)
    003 §11.2.3.3; Houlsby et al. 2019, §2.1"""
    model, θ, words, γ = draw.case(Adapter(draw.size(1, 4)))
    for path, layer, A in zip(γ.at, (θ.blocks[0].attn.o, θ.blocks[0].mlp.down), columns(γ)):
        x, y = watch(model, words, γ)[path]
        yield adapter(linear(layer, x), *A), y
    yield logits(model, words), logits(model, words, times(γ, 1, 1, 0, 0)), EXACT
    # near the identity: with numbers twice as large, four times as far from it
    near = [times(γ, std, 0, std, 0) for std in (1e-5, 2e-5)]
    h, *hs = (watch(model, words, γ)["blocks.0.attn.o"][1] for γ in (PLAIN, *near))
    once, twice = (np.linalg.norm(h_near - h) for h_near in hs)
    yield 4, round(twice / once, 1), EXACT


@equation("AD-2")
def count(draw):
    """2rd + r + d numbers each, two in a layer: 6,343,680 for BERT-large, r = 64
    003 §11.2.3.3; Houlsby et al. 2019, §3"""
    model, r = draw.model(), draw.size(1, 9)
    c, γ = model.config, Adapter(r, targets=HOULSBY).attach(model, draw.rng)
    yield c.layers * 2 * adapter_size(c.width, r), size(γ), EXACT
    wide = SimpleNamespace(shape=(1, 1024))
    bert_large = 24 * 2 * sum(p.size for p in Adapter(64).start(wide, draw.rng))
    yield [24 * 2 * adapter_size(1024, 64), 6_343_680], [bert_large] * 2, EXACT


@equation("AD-3")
def placement(draw):
    """Houlsby: x + A(W_o·heads), then x + A(mlp);  Pfeiffer: the second alone
    003 §11.2.3.3, which has them between the layers (X15); adapter-bert's modeling.py"""
    model, words = draw.model(), draw.words()
    θ, N = columns(model), len(model.blocks)
    E, two, one = embed(θ, words), Adapter(8, targets=HOULSBY), Adapter(8, targets=PFEIFFER)
    two, one = draw.attached(two, model), draw.attached(one, model)
    yield adapted(θ, E, columns(two)[::2], columns(two)[1::2]), logits(model, words, two)
    yield adapted(θ, E, [None] * N, columns(one)), logits(model, words, one)
    yield Differs(adapted_between(θ, E, columns(one)), logits(model, words, one))
    yield 2 * size(one), size(two), EXACT
    for γ in (one, two):
        yield logits(model, words), logits(model, words, times(γ, 1, 1, 0, 0)), EXACT


@equation("LO-1")
def low_rank(draw):
    """h = W₀x + (α/r) B A x;  dA = (α/r) BᵀG xᵀ,  dB = (α/r) G (Ax)ᵀ
    003 §11.2.3.5; Hu et al. 2021, eq. 3"""
    r, α = draw.size(1, 4), float(draw.size(1, 8))
    model, θ, words, γ = draw.case(LoRA(r, α))
    (A, B), W_q = columns(γ)[0], θ.blocks[0].attn.q
    x, y = watch(model, words, γ)["blocks.0.attn.q"]
    yield lora(W_q.W, W_q.b, A, B, α, x), y
    merged = merge(model, γ)
    yield logits(model, words, γ), logits(merged, words)
    yield W_q.W, columns(merged).blocks[0].attn.q.W - α / r * B @ A  # and taken out again
    fresh, G = LoRA(r, α).attach(model, draw.rng), draw.array(*y.shape)
    yield logits(model, words), logits(model, words, fresh), EXACT  # B = 0
    layer, x_rows = model.blocks[0].attn.q, Tensor(x.T[None])
    dA, dB = grad(γ(layer, x_rows), γ.at[layer.path], [G.T[None]])
    literal = lora_gradients(A, B, α, x, G)
    yield literal[0], dA.T
    yield literal[1], dB.T
    dA, dB = grad(fresh(layer, x_rows), fresh.at[layer.path], [G.T[None]])
    yield np.zeros(dA.shape), dA, EXACT  # A does not move at the first step; B does
    yield Differs(np.zeros(dB.shape), dB)
