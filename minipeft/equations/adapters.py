"""Adapters: Houlsby et al. 2019; Pfeiffer et al. 2021; He et al. 2022."""

import dataclasses
from types import SimpleNamespace

import numpy as np

from ..adaptation.adaptation import parameter
from ..adaptation.chain import Chain
from ..adaptation.merge import merge
from ..adaptation.method import PLAIN
from ..autograd.nn import replace, size
from ..autograd.tensor import Tensor, grad
from ..methods import HOULSBY, PFEIFFER, Adapter, Fusion, LoRA, ParallelAdapter, PrefixTuning
from .draw import columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import (
    add_positions,
    block,
    embed,
    gelu,
    layer_norm,
    linear,
    lm_head,
    mlp,
    self_attention,
    softmax,
)


def adapter(x, W_down, b_down, W_up, b_up):
    """Adapter(x) = x + W_up σ(W_down x), with the biases of the authors' code"""
    return x + W_up @ gelu(W_down @ x + b_down) + b_up


def adapter_model(θ, E, A_attn, A_mlp):
    """A language model with adapters after its sub-layers, before the residual; A = None: none"""
    X = add_positions(θ, E)
    adapted = lambda A, h: h if A is None else adapter(h, *A)
    for layer, A_1, A_2 in zip(θ.blocks, A_attn, A_mlp):
        X = X + adapted(A_1, self_attention(layer.attn, layer_norm(layer.ln1, X)))
        X = X + adapted(A_2, mlp(layer.mlp, layer_norm(layer.ln2, X)))
    return lm_head(θ, layer_norm(θ.ln, X))


def adapter_between_layers(θ, E, As):
    """A language model with adapters after its layers, after the residual"""
    X = add_positions(θ, E)
    for layer, A in zip(θ.blocks, As):
        X = adapter(block(layer, X), *A)
    return lm_head(θ, layer_norm(θ.ln, X))


def adapter_size(d, r):
    """2 r d + r + d: W_down, W_up, b_down, b_up"""
    return 2 * r * d + r + d


def parallel_adapter(x, h, W_down, W_up, s):
    """h + s · W_up relu(W_down x),  x the input of the sub-layer, h its output"""
    return h + s * W_up @ np.maximum(W_down @ x, 0)


def linear_residual(X, Y):
    """Y - (W X + b), for the W and b that fit best"""
    one = np.vstack([X, np.ones(X.shape[1])])
    return Y - Y @ np.linalg.pinv(one) @ one


def scaled(γ, **factors):
    """Return a copy whose parameters are multiplied by the factors of their names, or by 1."""
    factor = {id(p): factors.get(name, 1) for ps in γ.at.values() for name, p in ps.items()}
    return γ.map(lambda p: parameter(factor[id(p)] * p.data))


@equation("AD-1")
def bottleneck(draw):
    """Adapter(x) = x + W_up σ(W_down x)
    Adaptation chapter, §11.2.3.3 (its second section of that number); Houlsby et al. 2019, §2.1"""
    model, θ, words, γ = draw.case(Adapter(draw.size(1, 4)))
    for path, layer, A in zip(γ.at, (θ.blocks[0].attn.o, θ.blocks[0].mlp.down), columns(γ)):
        x, y = watch(model, words, γ)[path]
        yield adapter(linear(layer, x), *A), y
    yield logits(model, words), logits(model, words, scaled(γ, U=0, c=0)), EXACT
    # near the identity the change is of second order: parameters × 2, change × 4
    h, *hs = (
        watch(model, words, near)["blocks.0.attn.o"][1]
        for near in (PLAIN, *(scaled(γ, D=std, b=0, U=std, c=0) for std in (1e-5, 2e-5)))
    )
    change, change_2 = (np.linalg.norm(h_near - h) for h_near in hs)
    yield 4, round(change_2 / change, 1), EXACT


@equation("AD-2")
def two_adapters_size(draw):
    """2 r d + r + d parameters each, two in a layer: 6,343,680 for BERT-large, r = 64
    Houlsby et al. 2019, §3"""
    model, r = draw.model(), draw.size(1, 9)
    c, γ = model.config, Adapter(r, targets=HOULSBY).attach(model, draw.rng)
    yield c.layers * 2 * adapter_size(c.width, r), size(γ), EXACT
    layer = SimpleNamespace(shape=(1, 1024))
    bert_large = 24 * 2 * sum(p.size for p in Adapter(64).start(layer, draw.rng).values())
    yield [24 * 2 * adapter_size(1024, 64), 6_343_680], [bert_large] * 2, EXACT


@equation("AD-3")
def placement(draw):
    """Houlsby: x + A(W_o·heads), then x + A(mlp);  Pfeiffer: the second alone
    Houlsby et al. 2019, code, modeling.py; Adaptation chapter, §11.2.3.3 (corrected, X15)"""
    model, words = draw.model(), draw.words()
    θ, N = columns(model), len(model.blocks)
    E, two, one = embed(θ, words), Adapter(8, targets=HOULSBY), Adapter(8, targets=PFEIFFER)
    two, one = draw.adaptation(two, model), draw.adaptation(one, model)
    yield adapter_model(θ, E, columns(two)[::2], columns(two)[1::2]), logits(model, words, two)
    yield adapter_model(θ, E, [None] * N, columns(one)), logits(model, words, one)
    yield Differs(adapter_between_layers(θ, E, columns(one)), logits(model, words, one))
    yield 2 * size(one), size(two), EXACT
    for γ in (one, two):
        yield logits(model, words), logits(model, words, scaled(γ, U=0, c=0)), EXACT


@equation("AD-4")
def parallel(draw):
    """h ← h + W_up relu(W_down x),  x the input of the sub-layer
    He et al. 2022, table 1"""
    model, θ, words, γ = draw.case(ParallelAdapter(draw.size(1, 4)))
    (W_down, W_up), layer = columns(γ)[1], θ.blocks[0]
    x, y = watch(model, words, γ)["blocks.0.mlp"]
    h = mlp(layer.mlp, x)
    yield parallel_adapter(x, h, W_down, W_up, 1), y
    if np.any(W_down @ h > 0):  # else a sequential adapter adds nothing, as this one may
        yield Differs(parallel_adapter(h, h, W_down, W_up, 1), y)
    x, y = watch(model, words, γ)["blocks.0.attn"]
    yield parallel_adapter(x, self_attention(layer.attn, x), *columns(γ)[0], 1), y
    fresh = ParallelAdapter(2).attach(model, draw.rng)  # W_up = 0
    yield logits(model, words), logits(model, words, fresh), EXACT


@equation("AD-5")
def scale(draw):
    """s · W_up relu(·) = (s W_up) relu(·): the same function with another gradient
    He et al. 2022, §4.6"""
    s = float(draw.size(2, 9))
    method = ParallelAdapter(draw.size(1, 4), s)
    model, θ, words, γ = draw.case(method)
    x, y = watch(model, words, γ)["blocks.0.mlp"]
    yield parallel_adapter(x, mlp(θ.blocks[0].mlp, x), *columns(γ)[1], s), y
    unscaled = replace(scaled(γ, W_up=s), method=dataclasses.replace(method, scale=1.0))
    yield logits(model, words, γ), logits(model, words, unscaled)
    parameters = lambda γ: list(γ.at["blocks.0.mlp"].values())
    gradients = lambda γ: grad(model.loss(words[None], words[None], γ), parameters(γ))
    if len(words) > 1:
        (d_down, d_up), (scaled_down, scaled_up) = gradients(unscaled), gradients(γ)
        yield d_down, scaled_down
        yield s * d_up, scaled_up


@equation("AD-6")
def mam(draw):
    """MAM: a prefix at the attention, a scaled parallel adapter at the MLP
    He et al. 2022, §4.7: k = 30, r = 512, s = 4 for BART-large: 27,377,664 parameters, 6.74 %"""
    k, r = draw.size(1, 4), draw.size(1, 4)
    model, words = draw.model(), draw.words()
    prefix = draw.adaptation(PrefixTuning(k), model)
    adapter = draw.adaptation(ParallelAdapter(r, 4.0, targets=r"mlp$"), model)
    θ, γ = columns(model), Chain(prefix, adapter)
    X = add_positions(θ, embed(θ, words), start=k)
    for layer, P, PA in zip(θ.blocks, columns(prefix), columns(adapter)):
        X = X + self_attention(layer.attn, layer_norm(layer.ln1, X), P)
        x = layer_norm(layer.ln2, X)
        X = X + parallel_adapter(x, mlp(layer.mlp, x), *PA, s=4)
    yield lm_head(θ, layer_norm(θ.ln, X)), logits(model, words, γ)
    c = model.config
    yield c.layers * (2 * k * c.width + 2 * r * c.width), size(γ), EXACT


def is_refused(model, γ):
    """Return whether the library refuses to merge an adaptation."""
    try:
        merge(model, γ)
    except ValueError as error:
        return "can't be merged" in str(error)
    return False


@equation("AD-7")
def no_merging(draw):
    """no W and b have W x + b = h + W_up σ(W_down h), since σ is not linear; LoRA can be merged
    derived from AD-1 and LO-1"""
    model = draw.model(heads=1, width=4)
    adapter, lora = draw.adaptation(Adapter(4), model), draw.adaptation(LoRA(2), model)
    x, layers = draw.array(24, 4, std=2.0).T, dict(model.modules())
    output = lambda γ, path: columns(γ(layers[path], Tensor(x.T[None])))[0]
    zeros = np.zeros((4, 24))
    yield zeros, linear_residual(x, output(lora, "blocks.0.attn.q")), 1e-11
    yield Differs(zeros, linear_residual(x, output(adapter, "blocks.0.attn.o")))
    yield True, is_refused(model, adapter), EXACT


def fusion(h, zs, Q, K, V):
    """Σ_n s_n V z_n and s,  s = softmax_n(Q h · K z_n), for each column of h and of every z_n"""
    s = softmax(np.array([((Q @ h) * (K @ z)).sum(axis=0) for z in zs]))  # (N, L)
    return sum(s_n * (V @ z) for s_n, z in zip(s, zs)), s


@equation("AD-8")
def adapter_fusion(draw):
    """o = Σ_n s_n V z_n,  s = softmax_n(Q h · K z_n),  z_n the output with adapter n
    Pfeiffer et al. 2021, §3.2"""
    model, words = draw.model(), draw.words()
    adapters = [draw.adaptation(Adapter(2, targets=PFEIFFER), model) for _ in range(3)]
    lora = draw.adaptation(LoRA(2, 3.0, targets=r"mlp\.down$"), model)
    γ = draw.adaptation(Fusion([*adapters, lora]), model)
    x, y = watch(model, words, γ)["blocks.0.mlp.down"]
    h, (A, B) = linear(columns(model).blocks[0].mlp.down, x), columns(lora)[0]
    z = [*(adapter(h, *columns(A)[0]) for A in adapters), h + 3.0 / 2 * B @ A @ x]
    o, s = fusion(h, z, *columns(γ)[0])
    yield o, y
    yield s, columns(Tensor(γ.fusion_weights(model, words[None])["blocks.0.mlp.down"]))[0]
    yield Differs(np.mean(z, axis=0), y)
    alone = Fusion(adapters[:1]).attach(model, draw.rng)
    yield logits(model, words, adapters[0]), logits(model, words, alone)
