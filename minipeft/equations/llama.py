"""Llama's layers: Touvron et al. 2023a; Grattafiori et al. 2024; Jiang et al. 2023."""

import math

import numpy as np

from ..autograd.functional import rms_norm
from ..autograd.tensor import Tensor
from ..model.positions import Rotary
from .draw import columns, logits, watch
from .entry import equation
from .literal import rms, softmax


def rotate(x, m, ω):
    """R_m x: (x_j + i x_{j+d/2}) e^{i m ω_j}"""
    real, imaginary = np.split(x, 2)
    z = (real + 1j * imaginary) * np.exp(1j * m * ω)
    return np.concatenate([z.real, z.imag])


def frequencies(d, θ):
    """ω_j = θ^(-2j/d)"""
    return np.array([θ ** (-2 * j / d) for j in range(d // 2)])


def silu(z):
    """z / (1 + e^-z)"""
    return z / (1 + np.exp(-z))


def swiglu(θ, x):
    """W_down (silu(W_gate x) ⊙ W_up x)"""
    return θ.down.W @ (silu(θ.gate.W @ x) * (θ.up.W @ x))


def grouped_query_attention(θ, X, K_heads, window, ω):
    """head_h = Attn(R q_h, R k_g, v_g),  g = ⌊h K/H⌋, each query over `window` keys"""
    Q, K, V = (part.W @ X for part in (θ.q, θ.k, θ.v))
    d, H, Y = θ.d, len(Q) // θ.d, np.zeros((len(Q), X.shape[1]))
    for h in range(H):
        q_rows, kv_rows = (slice(d * i, d * i + d) for i in (h, h * K_heads // H))
        for t in range(X.shape[1]):
            visible = range(max(0, t - window + 1), t + 1)
            q = rotate(Q[q_rows, t], t, ω)
            keys = np.transpose([rotate(K[kv_rows, s], s, ω) for s in visible])
            Y[q_rows, t] = V[kv_rows, [*visible]] @ softmax(keys.T @ q / math.sqrt(d))
    return θ.o.W @ Y


def llama(draw, **config):
    """Return a small network with the layers of Llama."""
    K, d = draw.size(1, 2), 2 * draw.size(1, 3)
    heads = K * draw.size(1, 2)
    layers = {"positions": "rotary", "norm": "rms", "activation": "silu", "gated": True}
    sizes = {"heads": heads, "key_heads": K, "head_width": d, "ffn_width": draw.size(1, 9)}
    return draw.model(width=draw.size(1, 8), biases=(), tied_head=False, **layers | sizes | config)


@equation("LL-1")
def root_mean_square_norm(draw):
    """g ⊙ x / √(mean x² + ε)
    Zhang & Sennrich 2019, eq. 4"""
    D, ε = draw.size(1, 7), 10.0 ** -draw.size(1, 6)
    x, g = draw.array(D), draw.array(D)
    yield rms(x, g, ε), rms_norm(Tensor(x[None]), Tensor(g), eps=ε).data[0]


@equation("LL-2")
def rotary_positions(draw):
    """(R_m q)ᵀ (R_n k) = qᵀ R_{n-m} k,  R_m rotates pair j by m θ^(-2j/d)
    Su et al. 2021, eq. 15, 16 and 34"""
    d, L, θ = 2 * draw.size(1, 4), draw.size(1, 6), 10.0 ** draw.size(1, 4)
    positions, ω, x = Rotary(d, θ), frequencies(d, θ), draw.array(L, d)
    yield ω, positions.ω
    library = positions.turn_front(Tensor(x[None])).data[0]
    yield [rotate(x[m], m, ω) for m in range(L)], library
    yield x[0] @ rotate(x[-1], L - 1, ω), library[0] @ library[-1]
    m, n = draw.size(0, 99), draw.size(0, 99)
    yield rotate(x[0], m, ω) @ rotate(x[-1], n, ω), x[0] @ rotate(x[-1], n - m, ω)


@equation("LL-3")
def rope_scaling(draw):
    """(1-r) ω/s + r ω,  r = (T ω/2π - low) / (high - low) clipped to [0, 1],  T the training length
    Grattafiori et al. 2024, code"""
    d, θ, T = 2 * draw.size(2, 8), 10.0 ** draw.size(1, 4), draw.size(8, 99)
    s, low, high = float(draw.size(2, 9)), float(draw.size(1, 3)), float(draw.size(4, 9))
    literal = []
    for ω in frequencies(d, θ):
        r = min(1, max(0, (T * ω / (2 * math.pi) - low) / (high - low)))
        literal.append((1 - r) * ω / s + r * ω)
    yield literal, Rotary(d, θ, (s, low, high, T)).ω


@equation("LL-4")
def gated_mlp(draw):
    """W_down (σ(W_gate x) ⊙ W_up x),  σ(z) = z / (1 + e^-z)
    Shazeer 2020, eq. 6"""
    model, words = llama(draw), draw.words()
    x, y = watch(model, words)["blocks.0.mlp"]
    yield swiglu(columns(model).blocks[0].mlp, x), y


@equation("LL-5")
def grouped_queries_and_window(draw):
    """head_h = Attn(R q_h, R k_⌊h K/H⌋, v_⌊h K/H⌋), each query over the last w keys
    Ainslie et al. 2023, §2.2; Jiang et al. 2023, §2"""
    model, words = llama(draw, window=draw.size(1, 5)), draw.words()
    c, θ = model.config, columns(model).blocks[0].attn
    x, y = watch(model, words)["blocks.0.attn"]
    ω = frequencies(c.d, c.rope_theta)
    yield grouped_query_attention(θ, x, c.key_heads, c.window, ω), y


@equation("LL-6")
def llama_model(draw):
    """h ← h + attn(rms(h));  h ← h + mlp(rms(h));  logits W rms(h)
    Touvron et al. 2023a, §2.2"""
    model, words = llama(draw), draw.words()
    c, θ = model.config, columns(model)
    ω, H = frequencies(c.d, c.rope_theta), θ.tokens.W[:, words]
    norm = lambda layer, H: np.transpose([rms(h, layer.g[:, 0], layer.eps) for h in H.T])
    for block in θ.blocks:
        X = norm(block.ln1, H)
        H = H + grouped_query_attention(block.attn, X, c.key_heads, len(words), ω)
        X = norm(block.ln2, H)
        H = H + np.transpose([swiglu(block.mlp, x) for x in X.T])
    yield θ.head.W @ norm(θ.ln, H), logits(model, words)
