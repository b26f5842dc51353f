"""Adapters: 003 §11.2.3.3 (the second); Houlsby et al. 2019; He et al. 2022."""

from types import SimpleNamespace

import numpy as np

from ..adaptation.adaptation import parameter
from ..adaptation.chain import Chain
from ..adaptation.merge import merge
from ..adaptation.method import PLAIN
from ..autograd.nn import replace, size
from ..autograd.tensor import Tensor, grad
from ..methods import HOULSBY, PFEIFFER, Adapter, LoRA, ParallelAdapter, PrefixTuning
from .draw import columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import block, embed, gelu, layer_norm, linear, mlp, place, self_attention, to_words


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


def parallel_adapter(x, h, W_down, W_up, s):
    """h + s · W_up relu(W_down x),  x what the sub-layer reads, h what it yields"""
    return h + s * W_up @ np.maximum(W_down @ x, 0)


def linear_fit(X, Y):
    """What is left of Y when the best W X + b is taken away"""
    one = np.vstack([X, np.ones(X.shape[1])])
    return Y - Y @ np.linalg.pinv(one) @ one


def times(γ, *factors):
    """Other adapters, with D, b, U and c each multiplied by its factor."""
    by = {id(p): f for added in γ.at.values() for p, f in zip(added, factors)}
    return γ.map(lambda p: parameter(by[id(p)] * p.data))


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


@equation("AD-4")
def parallel(draw):
    """h ← h + W_up relu(W_down x),  x the input of the sub-layer
    He et al. 2022, table 1"""
    model, θ, words, γ = draw.case(ParallelAdapter(draw.size(1, 4)))
    (W_down, W_up), layer = columns(γ)[1], θ.blocks[0]
    x, y = watch(model, words, γ)["blocks.0.mlp"]
    h = mlp(layer.mlp, x)
    yield parallel_adapter(x, h, W_down, W_up, 1), y
    yield Differs(parallel_adapter(h, h, W_down, W_up, 1), y)  # in sequence
    x, y = watch(model, words, γ)["blocks.0.attn"]
    yield parallel_adapter(x, self_attention(layer.attn, x), *columns(γ)[0], 1), y
    fresh = ParallelAdapter(2).attach(model, draw.rng)  # W_up = 0
    yield logits(model, words), logits(model, words, fresh), EXACT


@equation("AD-5")
def scale(draw):
    """s · W_up relu(·) = (s W_up) relu(·): the same function, learned at another pace
    He et al. 2022, §4.6"""
    s = float(draw.size(2, 9))
    model, θ, words, γ = draw.case(ParallelAdapter(draw.size(1, 4), s))
    x, y = watch(model, words, γ)["blocks.0.mlp"]
    yield parallel_adapter(x, mlp(θ.blocks[0].mlp, x), *columns(γ)[1], s), y
    plain = replace(times(γ, 1, s), scale=1.0)
    yield logits(model, words, γ), logits(model, words, plain)
    loss = lambda γ: grad(model.loss(words[None], words[None], γ), γ.at["blocks.0.mlp"])
    if len(words) > 1:
        (d_down, d_up), (same, larger) = loss(plain), loss(γ)
        yield d_down, same
        yield s * d_up, larger


@equation("AD-6")
def mam(draw):
    """MAM: a short prefix at the attention, a scaled parallel adapter at the MLP
    He et al. 2022, §4.7: k = 30, r = 512, s = 4 of BART-large: 27,377,664, or 6.74 %"""
    k, r = draw.size(1, 4), draw.size(1, 4)
    model, words = draw.model(), draw.words()
    prefix = draw.attached(PrefixTuning(k), model)
    beside = draw.attached(ParallelAdapter(r, 4.0, targets=r"mlp$"), model)
    θ, γ = columns(model), Chain(prefix, beside)
    X = place(θ, embed(θ, words), start=k)
    for layer, P, PA in zip(θ.blocks, columns(prefix), columns(beside)):
        X = X + self_attention(layer.attn, layer_norm(layer.ln1, X), P)
        x = layer_norm(layer.ln2, X)
        X = X + parallel_adapter(x, mlp(layer.mlp, x), *PA, s=4)
    yield to_words(θ, layer_norm(θ.ln, X)), logits(model, words, γ)
    c = model.config
    yield c.layers * (2 * k * c.width + 2 * r * c.width), size(γ), EXACT


def refused(model, γ):
    """Does the library refuse to merge it?"""
    try:
        merge(model, γ)
    except ValueError as error:
        return "can't be merged" in str(error)
    return False


@equation("AD-7")
def no_merging(draw):
    """there are no W, b with W x + b = h + W_up σ(W_down h): σ bends; a LoRA's change is linear
    follows from AD-1 and LO-1"""
    model = draw.model(heads=1, width=4)
    adapter, low_rank = draw.attached(Adapter(4), model), draw.attached(LoRA(2), model)
    x, xs = draw.array(24, 4, std=2.0).T, "blocks.0.attn.{}".format
    ours = lambda γ, path: columns(γ(dict(model.modules())[path], Tensor(x.T[None])))[0]
    yield np.zeros((4, 24)), linear_fit(x, ours(low_rank, xs("q"))), 1e-11
    yield Differs(np.zeros((4, 24)), linear_fit(x, ours(adapter, xs("o"))))
    yield True, refused(model, adapter), EXACT
