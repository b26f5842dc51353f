"""Operations of networks: each returns a value, then one vjp for each argument.

B batch   T queries   S keys   I inputs   O outputs   D width   V vocabulary
"""

import numpy as np

from .ops import flat, matmul, swap, zeros
from .special import normal_cdf
from .tensor import once, op


@op
def relu(x):
    return np.maximum(x, 0), lambda g: g * (x > 0)


@op
def gelu(x):
    """y = x (1 + tanh u) / 2,  u = √(2/π) (x + 0.044715 x³)        Hendrycks & Gimpel 2016, §2

    Computed in place.  x**3 would cost as much as a hundred products.
    """
    s, c = (2 / np.pi) ** 0.5, 0.044715
    t = x * x
    t *= c * s
    t += s
    t *= x
    np.tanh(t, out=t)
    y = t + 1
    y *= x
    y *= 0.5

    def dx(g):
        """dy/dx = (1 + t)/2 + x (1 - t²) u'/2,  u' = s (1 + 3 c x²)"""
        d = x * x
        d *= 3 * c * s
        d += s
        d *= x
        slope = t * t
        np.subtract(1, slope, out=slope)
        d *= slope
        d += t
        d += 1
        d *= 0.5
        d *= g
        return d

    return y, dx


@op
def exact_gelu(x):
    """y = x Φ(x),  Φ the distribution function of N(0, 1)        Hendrycks & Gimpel 2016, §2"""
    Φ = normal_cdf(x)

    def dx(g):
        """dy/dx = Φ + x φ,  φ = exp(-x²/2) / √(2π)"""
        d = x * x
        d *= -0.5
        np.exp(d, out=d)
        d *= (2 * np.pi) ** -0.5
        d *= x
        d += Φ
        d *= g
        return d

    return x * Φ, dx


def sigmoid(x):
    """1 / (1 + exp(-x)) as (1 + tanh(x/2)) / 2, which never overflows."""
    t = 0.5 * x
    np.tanh(t, out=t)
    t += 1
    t *= 0.5
    return t


@op
def silu(x):
    """y = x σ(x),  σ(x) = 1 / (1 + exp(-x))        Hendrycks & Gimpel 2016, §4"""
    σ = sigmoid(x)
    y = x * σ

    def dx(g):
        """dy/dx = σ + y (1 - σ)"""
        d = 1 - σ
        d *= y
        d += σ
        d *= g
        return d

    return y, dx


@op
def dropout(x, p, rng):
    """Zero each number of x with probability p and divide the others by 1 - p."""
    keep = np.asarray((rng.random(x.shape) >= p) / (1 - p), x.dtype, like=x)
    return x * keep, lambda g: g * keep


@op
def linear(x, W, b):
    """y = x W + b        x (B, T, I)   W (I, O)   b (O,), or W (B, I, O)   b (B, 1, O)"""
    y, dx, dW = matmul.__wrapped__(x, W)
    y += b
    return y, dx, dW, lambda g: g


@op
def attention(q, k, v, bias=None, masked=None, scale=1.0):
    """softmax(scale q kᵀ + bias) v, without `masked` keys        Vaswani et al. 2017, eq. 1

    q (B, K, G, T, d)   k, v (B, K, 1, S, d)   masked (B or 1, 1, 1, T or 1, S) or None
    Masked scores are the smallest finite number, not -∞: a fully masked row stays finite.
    """
    p = q @ swap(k)  # (B, K, G, T, S)
    p *= scale
    if bias is not None:
        p += bias
    if masked is not None:
        np.copyto(p, np.finfo(p.dtype).min, where=masked)
    p -= p.max(-1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(-1, keepdims=True)

    @once
    def ds(g):
        """A ⊙ (dA - (A ⊙ dA) 1),  dA = g vᵀ"""
        d = g @ swap(v)
        d *= p
        d -= p * d.sum(-1, keepdims=True)
        if masked is not None:
            np.copyto(d, 0, where=masked)  # also in a fully masked row, where A is 1/S
        return d

    return (
        p @ v,
        lambda g: ds(g) @ k * scale,
        lambda g: swap(ds(g)) @ q * scale,
        lambda g: swap(p) @ g,
        ds,
    )


# -- normalisation ------------------------------------------------------------


@op
def layer_norm(x, g, b, eps=1e-5):
    """y = g n + b,  n = (x - mean) / √(var + ε)        Ba et al. 2016, eq. 4"""
    n = x - x.mean(-1, keepdims=True)
    return scaled(n, g, eps, lambda dn: dn - dn.mean(-1, keepdims=True), b)


@op
def rms_norm(x, g, eps=1e-5):
    """y = g n,  n = x / √(mean x² + ε)        Zhang & Sennrich 2019, eq. 4"""
    return scaled(x.copy(), g, eps, lambda dn: dn)


def scaled(n, g, eps, centre, b=None):
    """Divide n in place by √(mean n² + ε) and return g n + b with its vjps: for both norms."""
    D = n.shape[-1]
    r = (np.einsum("...i,...i->...", n, n)[..., None] / D + eps) ** -0.5
    n *= r

    def dx(dy):
        dn = dy * g
        d = centre(dn)
        d -= n * (np.einsum("...i,...i->...", dn, n)[..., None] / D)
        d *= r
        return d

    y = n * g
    if b is None:
        return y, dx, lambda dy: dy * n
    y += b
    return y, dx, lambda dy: dy * n, lambda dy: dy


# -- heads and positions ------------------------------------------------------


@op
def split_heads(x, K, d):
    """Reshape (B, T, K G d) to (B, K, G, T, d): K groups of G heads that share keys and values."""
    B, T, D = x.shape
    return (
        x.reshape(B, T, K, D // (K * d), d).transpose(0, 2, 3, 1, 4),
        lambda g: g.transpose(0, 3, 1, 2, 4).reshape(B, T, D),
    )


@op
def join_heads(x):
    """Reshape (B, K, G, T, d) to (B, T, K G d): the inverse of `split_heads`."""
    B, K, G, T, d = x.shape
    return (
        x.transpose(0, 3, 1, 2, 4).reshape(B, T, K * G * d),
        lambda g: g.reshape(B, T, K, G, d).transpose(0, 2, 3, 1, 4),
    )


def angles(at, ω, like):
    """Return cos, sin (B, T, 1, d/2) of at · ω for positions at (B, T) and frequencies ω (d/2,)."""
    angle = at[..., None, None] * ω
    return [np.asarray(f(angle), like.dtype, like=like) for f in (np.cos, np.sin)]


@op
def rotate(x, c, s):
    """Rotate each pair (i, i + d/2) of a head by its angle        Su et al. 2021, eq. 34

    x (B, T, H d)   c, s, the cosines and sines (B, T, 1, d/2)
    """
    d = 2 * c.shape[-1]

    def turn(x, s):
        a, b = np.split(x.reshape(*x.shape[:2], x.shape[2] // d, d), 2, -1)
        return np.concatenate([a * c - b * s, b * c + a * s], -1).reshape(x.shape)

    return turn(x, s), lambda g: turn(g, -s)


# -- losses -------------------------------------------------------------------


@op
def cross_entropy(z, target, count):
    """-1/count Σ log softmax(z)[target] over the targets ≥ 0        z (..., V)   target (...)"""
    rows = np.flatnonzero(target >= 0)
    rows, y = (np.asarray(i, like=z) for i in (rows, target.reshape(-1)[rows]))
    z_real = flat(z)[rows]  # (N, V)
    z_real -= z_real.max(-1, keepdims=True)
    e = np.exp(z_real)
    total = e.sum(-1, keepdims=True)
    at, shape = (np.arange(len(y), like=z), y), z.shape

    def dz(g):
        """(softmax(z) - 1[target]) / count"""
        p = e / total
        p[at] -= 1
        p *= g / count
        d = zeros(shape, like=p)
        flat(d)[rows] = p
        return d

    return np.asarray((np.log(total[:, 0]) - z_real[at]).sum() / count, z.dtype, like=z), dz
