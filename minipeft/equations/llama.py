"""Llama's parts: Touvron et al. 2023, §2.2; Grattafiori et al. 2024; Jiang et al. 2023, §2."""

import math

import numpy as np

from ..autograd.functional import rms_norm
from ..autograd.tensor import Tensor
from ..model.positions import Rotary
from .draw import columns, logits, watch
from .entry import equation
from .literal import softmax


def rms(x, g, ε):
    """g ⊙ x / √(mean x² + ε)"""
    return g * x / math.sqrt(sum(z * z for z in x) / len(x) + ε)


def turned(x, position, ω):
    """(x_j + i x_{j+d/2}) e^{i m ω_j} at position m"""
    real, imaginary = np.split(x, 2)
    z = (real + 1j * imaginary) * np.exp(1j * position * ω)
    return np.concatenate([z.real, z.imag])


def frequencies(d, θ):
    """ω_j = θ^(-2j/d)"""
    return np.array([θ ** (-2 * j / d) for j in range(d // 2)])


def silu(z):
    return z / (1 + np.exp(-z))


def gated(θ, x):
    return θ.down.W @ (silu(θ.gate.W @ x) * (θ.up.W @ x))


def attended(θ, X, groups, window, ω):
    """Head h reads the keys of head ⌊h K/H⌋ there, of itself and the window - 1 tokens before."""
    Q, K, V = (part.W @ X for part in (θ.q, θ.k, θ.v))
    d, H, Y = θ.d, len(Q) // θ.d, np.zeros((len(Q), X.shape[1]))
    for h in range(H):
        own, shared = (slice(d * i, d * i + d) for i in (h, h * groups // H))
        for t in range(X.shape[1]):
            seen = range(max(0, t - window + 1), t + 1)
            q = turned(Q[own, t], t, ω)
            keys = np.transpose([turned(K[shared, s], s, ω) for s in seen])
            Y[own, t] = V[shared, [*seen]] @ softmax(keys.T @ q / math.sqrt(d))
    return θ.o.W @ Y


def llama(draw, **config):
    """A small network of that kind."""
    K, d = draw.size(1, 2), 2 * draw.size(1, 3)
    heads = K * draw.size(1, 2)
    kind = {"positions": "rotary", "norm": "rms", "activation": "silu", "gated": True}
    sizes = {"heads": heads, "key_heads": K, "head_width": d, "ffn_width": draw.size(1, 9)}
    return draw.model(width=draw.size(1, 8), biases=(), tied_head=False, **kind | sizes | config)


@equation("LL-1")
def norm_without_a_centre(draw):
    """g ⊙ x / √(mean x² + ε)
    Zhang & Sennrich 2019, eq. 4"""
    D, ε = draw.size(1, 7), 10.0 ** -draw.size(1, 6)
    x, g = draw.array(D), draw.array(D)
    yield rms(x, g, ε), rms_norm(Tensor(x[None]), Tensor(g), eps=ε).data[0]


@equation("LL-2")
def positions_turn(draw):
    """(R_m q)ᵀ (R_n k) = qᵀ R_{n-m} k,  R_m turns pair j by m θ^(-2j/d)
    Su et al. 2021, eqs. 15, 16 and 34"""
    d, L, θ = 2 * draw.size(1, 4), draw.size(1, 6), 10.0 ** draw.size(1, 4)
    rotary, ω, x = Rotary(d, θ), frequencies(d, θ), draw.array(L, d)
    yield ω, rotary.ω
    ours = rotary.front(Tensor(x[None])).data[0]
    yield [turned(x[m], m, ω) for m in range(L)], ours
    yield x[0] @ turned(x[-1], L - 1, ω), ours[0] @ ours[-1]
    m, n = draw.size(0, 99), draw.size(0, 99)
    yield turned(x[0], m, ω) @ turned(x[-1], n, ω), x[0] @ turned(x[-1], n - m, ω)


@equation("LL-3")
def longer_texts(draw):
    """ω/s below low waves in the length of training, ω above high, between (1-r) ω/s + r ω
    Grattafiori et al. 2024; r = (waves - low) / (high - low)"""
    d, θ, length = 2 * draw.size(2, 8), 10.0 ** draw.size(1, 4), draw.size(8, 99)
    s, low, high = float(draw.size(2, 9)), float(draw.size(1, 3)), float(draw.size(4, 9))
    wanted = []
    for ω in frequencies(d, θ):
        waves = length * ω / (2 * math.pi)
        r = min(1, max(0, (waves - low) / (high - low)))
        wanted.append((1 - r) * ω / s + r * ω)
    yield wanted, Rotary(d, θ, (s, low, high, length)).ω


@equation("LL-4")
def gated_mlp(draw):
    """W_down (σ(W_gate x) ⊙ W_up x),  σ(z) = z / (1 + e^-z)
    Shazeer 2020, eq. 6"""
    model, words = llama(draw), draw.words()
    x, y = watch(model, words)["blocks.0.mlp"]
    yield gated(columns(model).blocks[0].mlp, x), y


@equation("LL-5")
def keys_for_several_heads(draw):
    """head_h = Attn(R q_h, R k_⌊h K/H⌋, v_⌊h K/H⌋), each query over the last w keys
    Ainslie et al. 2023, §2.2; Jiang et al. 2023, §2 (w)"""
    model, words = llama(draw, window=draw.size(1, 5)), draw.words()
    c, θ = model.config, columns(model).blocks[0].attn
    x, y = watch(model, words)["blocks.0.attn"]
    yield attended(θ, x, c.key_heads, c.window, frequencies(c.d, c.rope_theta)), y


@equation("LL-6")
def the_whole_network(draw):
    """h ← h + attn(rms(h));  h ← h + mlp(rms(h));  logits W rms(h)
    Touvron et al. 2023, §2.2"""
    model, words = llama(draw), draw.words()
    c, θ = model.config, columns(model)
    ω, H = frequencies(c.d, c.rope_theta), θ.tokens.W[:, words]
    each = lambda layer, H: np.transpose([rms(h, layer.g[:, 0], layer.eps) for h in H.T])
    for block in θ.blocks:
        H = H + attended(block.attn, each(block.ln1, H), c.key_heads, len(words), ω)
        X = each(block.ln2, H)
        H = H + np.transpose([gated(block.mlp, x) for x in X.T])
    yield θ.head.W @ each(θ.ln, H), logits(model, words)
