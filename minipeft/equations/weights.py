"""Methods that change weights: Hu et al. 2021; Liu et al. 2022 ((IA)³ and DoRA, 2024); BitFit."""

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
    """W = m V/‖V‖,  V = W₀ + s B A, the norm that of each row: what leads to one output"""
    V = W_0 + s * B @ A
    return m * V / np.sqrt((V**2).sum(axis=1, keepdims=True))


def scaled_mlp(θ, x, l_ff):
    """W₂ (l_ff ⊙ γ(W₁ x))"""
    return linear(θ.down, l_ff * gelu(linear(θ.up, x)))


def folded_norm(W, b, g, c):
    """W (g ⊙ n + c) + b = (W diag g) n + (W c + b)"""
    return W * g.T, W @ c + b


@equation("LO-1")
def low_rank(draw):
    """h = W₀x + (α/r) B A x;  dA = (α/r) BᵀG xᵀ,  dB = (α/r) G (Ax)ᵀ
    003 §11.2.3.5; Hu et al. 2021, eq. 3; with α/√r Kalajdzievski 2023, with a norm DoRA, eq. 5"""
    r, α = draw.size(1, 4), float(draw.size(1, 8))
    model, θ, words, γ = draw.case(LoRA(r, α))
    (A, B), W_q = columns(γ)[0], θ.blocks[0].attn.q
    x, y = watch(model, words, γ)["blocks.0.attn.q"]
    yield lora(W_q.W, W_q.b, A, B, α / r, x), y
    merged = merge(model, γ)
    yield logits(model, words, γ), logits(merged, words)
    yield W_q.W, columns(merged).blocks[0].attn.q.W - α / r * B @ A  # and taken out again
    fresh, G = LoRA(r, α).attach(model, draw.rng), draw.array(*y.shape)
    yield logits(model, words), logits(model, words, fresh), EXACT  # B = 0
    layer, x_rows = model.blocks[0].attn.q, Tensor(x.T[None])
    dA, dB = grad(γ(layer, x_rows), γ.at[layer.path], [G.T[None]])
    literal = lora_gradients(A, B, α / r, x, G)
    yield literal[0], dA.T
    yield literal[1], dB.T
    dA, dB = grad(fresh(layer, x_rows), fresh.at[layer.path], [G.T[None]])
    yield np.zeros(dA.shape), dA, EXACT  # A does not move at the first step; B does
    yield Differs(np.zeros(dB.shape), dB)
    stabilised = draw.attached(LoRA(r, α, rank_stabilised=True), model)
    (A, B), (x, y) = columns(stabilised)[0], watch(model, words, stabilised)["blocks.0.attn.q"]
    yield lora(W_q.W, W_q.b, A, B, α / r**0.5, x), y
    decomposed = draw.attached(DoRA(r, α), model)
    (A, B, m), (x, y) = columns(decomposed)[0], watch(model, words, decomposed)["blocks.0.attn.q"]
    yield dora(W_q.W, A, B, m, α / r) @ x + W_q.b, y


@equation("LO-2")
def low_rank_size(draw):
    """Σ r (d_in + d_out): for q and v of N layers 2 N r · 2d
    003 §11.2.3.5; Hu et al. 2021, §4.2"""
    r, model = draw.size(1, 8), draw.model(heads=2, key_heads=1, positions="rotary")
    N, d = model.config.layers, model.config.width
    yield N * (r * (d + d) + r * (d + d // 2)), size(LoRA(r).attach(model, draw.rng)), EXACT
    full = draw.model()
    N, d = full.config.layers, full.config.width
    yield 2 * N * r * 2 * d, size(LoRA(r).attach(full, draw.rng)), EXACT
    fused = LoRA(r, targets=r"attn\.[qkv]$", fused=True).attach(full, draw.rng)
    yield N * r * (d + 3 * d), size(fused), EXACT  # one A for q, k and v


@equation("IA-1")
def rescaling(draw):
    """k ← l_k ⊙ (W_k x),  v ← l_v ⊙ (W_v x),  W₂ (l_ff ⊙ γ(W₁ x));  l = 1 at first
    Liu et al. 2022, §3.3"""
    model, θ, words, γ = draw.case(IA3())
    l_k, l_v, l_ff = (l for (l,) in columns(γ)[:3])
    seen, layer = watch(model, words, γ), θ.blocks[0]
    for part, l in (("k", l_k), ("v", l_v)):
        x, y = seen[f"blocks.0.attn.{part}"]
        yield l * linear(vars(layer.attn)[part], x), y  # the bias is scaled, too
    x, y = seen["blocks.0.mlp"]
    yield scaled_mlp(layer.mlp, x, l_ff), y
    yield logits(merge(model, γ), words), logits(model, words, γ)
    merged = columns(merge(model, γ)).blocks[0]
    yield np.diagflat(l_k) @ layer.attn.k.W, merged.attn.k.W
    yield l_k * layer.attn.k.b, merged.attn.k.b
    yield layer.mlp.down.W @ np.diagflat(l_ff), merged.mlp.down.W
    yield logits(model, words), logits(model, words, IA3().attach(model, draw.rng)), EXACT


@equation("BF-1")
def biases_alone(draw):
    """b ← b + δ, every bias and nothing else;  ∂ℓ/∂b_k = 0, but not under a prefix
    Ben Zaken et al. 2022, §3; the second follows from AT-3"""
    model, θ, words, γ = draw.case(BitFit(), least=2)
    c, d, N = model.config, model.config.width, model.config.layers
    yield 11 * d * N + d, size(γ), EXACT  # q k v o down, up, two norms; the last norm
    yield d * N, size(BitFit(biases("query")).attach(model, draw.rng)), EXACT
    both = BitFit(biases("query", "intermediate")).attach(model, draw.rng)
    yield (d + (c.ffn_width or 4 * d)) * N, size(both), EXACT
    for path, layer in (("attn.v", θ.blocks[0].attn.v), ("mlp.up", θ.blocks[0].mlp.up)):
        (δ,), (x, y) = γ.at[f"blocks.0.{path}"], watch(model, words, γ)[f"blocks.0.{path}"]
        yield linear(layer, x) + δ.data.T, y
    yield logits(merge(model, γ), words), logits(model, words, γ)
    yield logits(model, words), logits(model, words, BitFit().attach(model, draw.rng)), EXACT
    keys = BitFit(biases("key")).attach(model, draw.rng)
    slope = lambda γ: grad(model.loss(words[None], words[None], γ), keys.parameters())
    in_vain = [np.zeros(δ.shape) for δ in keys.parameters()]
    yield in_vain, slope(keys)
    prefix = draw.attached(PrefixTuning(2), model)
    yield Differs(in_vain, slope(Chain(keys, prefix)))


@equation("LN-1")
def norms_alone(draw):
    """W (g ⊙ n + c) + b = (W diag g) n + (W c + b): a norm's gain and bias fold into what follows
    Houlsby et al. 2019, §3.4, train them beside adapters; He et al. 2022, fig. 4, alone"""
    model, words, γ = draw.model(), draw.words(), LayerNormTuning()
    γ = draw.attached(γ, model)
    yield (2 * len(model.blocks) + 1) * 2 * model.config.width, size(γ), EXACT
    fresh = LayerNormTuning().attach(model)
    yield logits(model, words), logits(model, words, fresh), EXACT
    tuned = watch(model, words, γ)
    g, c = columns(γ)[0]
    y = tuned["blocks.0.ln1"][1]
    n = (y - c) / g
    for part in "qkv":
        layer = vars(columns(model).blocks[0].attn)[part]
        W, b = folded_norm(layer.W, layer.b, g, c)
        yield W @ n + b, tuned[f"blocks.0.attn.{part}"][1]
    yield logits(merge(model, γ), words), logits(model, words, γ)
    other = γ.map(lambda p: parameter(p.data + 1))
    yield Differs(logits(model, words, other), logits(model, words, γ))
