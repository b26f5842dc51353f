"""Methods that change weights: Hu et al. 2021; Liu et al. 2022; Liu et al. 2024; BitFit; norms."""

import numpy as np

from ..adaptation.adaptation import parameter
from ..adaptation.chain import Chain
from ..adaptation.merge import merge
from ..autograd.nn import size
from ..autograd.tensor import Tensor, grad
from ..methods import IA3, BitFit, DoRA, LayerNormTuning, LoRA, PrefixTuning, biases
from .draw import columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import gelu, linear


def lora(W_0, b, A, B, s, x):
    """h = W₀x + s B A x,  s = α/r"""
    return W_0 @ x + b + s * B @ A @ x


def lora_gradients(A, B, s, x, G):
    """dA = s BᵀG xᵀ,  dB = s G (Ax)ᵀ        for G = ∂ℓ/∂h"""
    return s * B.T @ G @ x.T, s * G @ (A @ x).T


def dora(W_0, A, B, m, s):
    """W = m V/‖V‖,  V = W₀ + s B A,  with the norm of each row: the weights of one output"""
    V = W_0 + s * B @ A
    return m * V / np.sqrt((V**2).sum(axis=1, keepdims=True))


def ia3_mlp(θ, x, l_ff):
    """W₂ (l_ff ⊙ γ(W₁ x))"""
    return linear(θ.down, l_ff * gelu(linear(θ.up, x)))


def folded_norm(W, b, g, c):
    """W diag(g),  W c + b"""
    return W * g.T, W @ c + b


@equation("LO-1")
def low_rank(draw):
    """h = W₀x + (α/r) B A x;  dA = (α/r) BᵀG xᵀ,  dB = (α/r) G (Ax)ᵀ
    Hu et al. 2021, eq. 3; with α/√r Kalajdzievski 2023, §3; with a norm Liu et al. 2024, eq. 5"""
    r, α = draw.size(1, 4), float(draw.size(1, 8))
    model, θ, words, γ = draw.case(LoRA(r, α))
    (A, B), W_q = columns(γ)[0], θ.blocks[0].attn.q
    x, y = watch(model, words, γ)["blocks.0.attn.q"]
    yield lora(W_q.W, W_q.b, A, B, α / r, x), y
    merged = merge(model, γ)
    yield logits(model, words, γ), logits(merged, words)
    yield W_q.W, columns(merged).blocks[0].attn.q.W - α / r * B @ A  # unmerged
    fresh, G = LoRA(r, α).attach(model, draw.rng), draw.array(*y.shape)
    yield logits(model, words), logits(model, words, fresh), EXACT  # B = 0
    layer, x_rows = model.blocks[0].attn.q, Tensor(x.T[None])
    gradients = lambda γ: grad(γ(layer, x_rows), list(γ.at[layer.path].values()), [G.T[None]])
    (dA, dB), literal = gradients(γ), lora_gradients(A, B, α / r, x, G)
    yield literal[0], dA.T
    yield literal[1], dB.T
    dA, dB = gradients(fresh)
    yield np.zeros(dA.shape), dA, EXACT  # in the first step only B changes
    yield Differs(np.zeros(dB.shape), dB)
    stabilised = draw.adaptation(LoRA(r, α, rank_stabilised=True), model)
    (A, B), (x, y) = columns(stabilised)[0], watch(model, words, stabilised)["blocks.0.attn.q"]
    yield lora(W_q.W, W_q.b, A, B, α / r**0.5, x), y
    decomposed = draw.adaptation(DoRA(r, α), model)
    (A, B, m), (x, y) = columns(decomposed)[0], watch(model, words, decomposed)["blocks.0.attn.q"]
    yield dora(W_q.W, A, B, m, α / r) @ x + W_q.b, y


@equation("LO-2")
def low_rank_size(draw):
    """Σ r (d_in + d_out): for q and v of N layers 2 N r · 2d
    Hu et al. 2021, §4.2"""
    r, model = draw.size(1, 8), draw.model(heads=2, key_heads=1, positions="rotary")
    N, d = model.config.layers, model.config.width
    yield N * (r * (d + d) + r * (d + d // 2)), size(LoRA(r).attach(model, draw.rng)), EXACT
    model = draw.model()
    N, d = model.config.layers, model.config.width
    yield 2 * N * r * 2 * d, size(LoRA(r).attach(model, draw.rng)), EXACT
    fused = LoRA(r, targets=r"attn\.[qkv]$", fused=True).attach(model, draw.rng)
    yield N * r * (d + 3 * d), size(fused), EXACT  # q, k and v share A


@equation("IA-1")
def rescaling(draw):
    """k ← l_k ⊙ (W_k x),  v ← l_v ⊙ (W_v x),  W₂ (l_ff ⊙ γ(W₁ x));  l = 1 before training
    Liu et al. 2022, §3.3"""
    model, θ, words, γ = draw.case(IA3())
    l_k, l_v, l_ff = (l for (l,) in columns(γ)[:3])
    layers, block = watch(model, words, γ), θ.blocks[0]
    for part, l in (("k", l_k), ("v", l_v)):
        x, y = layers[f"blocks.0.attn.{part}"]
        yield l * linear(vars(block.attn)[part], x), y  # the bias is scaled too
    x, y = layers["blocks.0.mlp"]
    yield ia3_mlp(block.mlp, x, l_ff), y
    yield logits(merge(model, γ), words), logits(model, words, γ)
    merged = columns(merge(model, γ)).blocks[0]
    yield np.diagflat(l_k) @ block.attn.k.W, merged.attn.k.W
    yield l_k * block.attn.k.b, merged.attn.k.b
    yield block.mlp.down.W @ np.diagflat(l_ff), merged.mlp.down.W
    yield logits(model, words), logits(model, words, IA3().attach(model, draw.rng)), EXACT


@equation("BF-1")
def biases_only(draw):
    """b ← b + δ for every bias b;  ∂ℓ/∂b_k = 0, but not with a prefix
    Ben Zaken et al. 2022, §3; the second derived from AT-3"""
    model, θ, words, γ = draw.case(BitFit(), shortest=2)
    c, d, N = model.config, model.config.width, model.config.layers
    yield 11 * d * N + d, size(γ), EXACT  # q k v o down, up, two norms; the last norm
    yield d * N, size(BitFit(biases("query")).attach(model, draw.rng)), EXACT
    both = BitFit(biases("query", "intermediate")).attach(model, draw.rng)
    yield (d + (c.ffn_width or 4 * d)) * N, size(both), EXACT
    for path, layer in (("attn.v", θ.blocks[0].attn.v), ("mlp.up", θ.blocks[0].mlp.up)):
        δ, (x, y) = γ.at[f"blocks.0.{path}"]["delta"], watch(model, words, γ)[f"blocks.0.{path}"]
        yield linear(layer, x) + δ.data.T, y
    yield logits(merge(model, γ), words), logits(model, words, γ)
    yield logits(model, words), logits(model, words, BitFit().attach(model, draw.rng)), EXACT
    keys = BitFit(biases("key")).attach(model, draw.rng)
    gradients = lambda γ: grad(model.loss(words[None], words[None], γ), keys.parameters())
    zeros = [np.zeros(δ.shape) for δ in keys.parameters()]
    yield zeros, gradients(keys)
    prefix = draw.adaptation(PrefixTuning(2), model)
    yield Differs(zeros, gradients(Chain(keys, prefix)))


@equation("LN-1")
def norms_only(draw):
    """W (g ⊙ n + c) + b = (W diag g) n + (W c + b): gain g and bias c of a norm as weights
    Houlsby et al. 2019, §3.4"""
    model, words = draw.model(), draw.words()
    γ = draw.adaptation(LayerNormTuning(), model)
    yield (2 * len(model.blocks) + 1) * 2 * model.config.width, size(γ), EXACT
    fresh = LayerNormTuning().attach(model)
    yield logits(model, words), logits(model, words, fresh), EXACT
    layers = watch(model, words, γ)
    g, c = columns(γ)[0]
    n = (layers["blocks.0.ln1"][1] - c) / g
    for part in "qkv":
        layer = vars(columns(model).blocks[0].attn)[part]
        W, b = folded_norm(layer.W, layer.b, g, c)
        yield W @ n + b, layers[f"blocks.0.attn.{part}"][1]
    yield logits(merge(model, γ), words), logits(model, words, γ)
    other = γ.map(lambda p: parameter(p.data + 1))
    yield Differs(logits(model, words, other), logits(model, words, γ))
