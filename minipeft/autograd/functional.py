"""Operations of networks: activations, dropout, attention, norms, heads, losses.

A function under @op returns its value, then one vjp (vector-Jacobian product) for each argument:
see `op` in tensor.py.  In a vjp, g is the gradient of the value.

B batch   T queries   S keys   I inputs   O outputs   D width   V vocabulary
K key heads   G query heads for each key head   d width of a head
"""

import numpy as np

from .ops import dot, flat, matmul, swap, total
from .special import normal_cdf
from .tensor import once, op


@op
def relu(x):
    """Return max(x, 0)."""
    return np.maximum(x, 0), lambda g: g * (x > 0)


def sigmoid(x):
    """Return σ(x) = 1 / (1 + exp(-x)) of an array; where exp(-x) overflows to ∞ it is 0."""
    return sigmoid_of_minus(-x)


def sigmoid_of_minus(x):
    """Return σ(-x) = 1 / (1 + exp(x)) in place of the array x.

    Without AVX-512, np.exp takes 4 ns for a number, and np.tanh 7.
    """
    with np.errstate(over="ignore"):
        np.exp(x, out=x)
    x += 1
    return np.divide(1, x, out=x)


@op
def gelu(x):
    """Return x (1 + tanh u) / 2,  u = √(2/π) (x + 0.044715 x³)        Hendrycks & Gimpel 2016, §2

    (1 + tanh u) / 2 is computed as σ(2u).  Temporary arrays are reused, and products replace x**3,
    which is about 100 times slower.
    """
    s, c = (8 / np.pi) ** 0.5, 0.044715
    t = x * x
    t *= -c * s
    t -= s
    t *= x
    σ = sigmoid_of_minus(t)

    def dx(g):
        """Return g dy/dx,  dy/dx = σ (1 + x (1 - σ) 2u'),  2u' = s (1 + 3 c x²)"""
        d = x * x
        d *= 3 * c * s
        d += s
        d *= x
        d *= 1 - σ
        d += 1
        d *= σ
        d *= g
        return d

    return x * σ, dx


@op
def exact_gelu(x):
    """Return x Φ(x),  Φ the distribution function of N(0, 1)        Hendrycks & Gimpel 2016, §2"""
    Φ = normal_cdf(x)

    def dx(g):
        """Return g dy/dx,  dy/dx = Φ + x φ,  φ = exp(-x²/2) / √(2π)"""
        d = x * x
        d *= -0.5
        np.exp(d, out=d)
        d *= (2 * np.pi) ** -0.5
        d *= x
        d += Φ
        d *= g
        return d

    return x * Φ, dx


@op
def silu(x):
    """Return x σ(x),  σ(x) = 1 / (1 + exp(-x))        Hendrycks & Gimpel 2016, §4"""
    σ = sigmoid(x)
    y = x * σ

    def dx(g):
        """Return g dy/dx,  dy/dx = σ + y (1 - σ)"""
        d = 1 - σ
        d *= y
        d += σ
        d *= g
        return d

    return y, dx


@op
def dropout(x, p, rng):
    """Return x with each number zeroed with probability p, and the others divided by 1 - p."""
    keep = np.asarray((rng.random(x.shape) >= p) / (1 - p), x.dtype, like=x)
    return x * keep, lambda g: g * keep


@op
def linear(x, W, b):
    """Return x W + b.

    x (B, T, I)   W (I, O)   b (O,), or, different for each row of the batch, W (B, I, O)
    b (B, 1, O)
    """
    y, dx, dW = matmul.__wrapped__(x, W)
    y += b
    return y, dx, dW, lambda g: g


@op
def attention(q, k, v, bias=None, masked=None, scale=1.0):
    """Return softmax(scale q kᵀ + bias) v, (B, K, G, T, d)        Vaswani et al. 2017, eq. 1

    q (B, K, G, T, d)   k, v (B, K, 1, S, d)   bias of a shape that broadcasts to (B, K, G, T, S)
    masked (B or 1, 1, 1, T or 1, S): True where a query may not attend to a key; None: nowhere.
    Masked scores are the lowest finite number, not -∞, so that a fully masked row is not NaN.
    """
    q = q * scale
    e = q @ swap(k)  # (B, K, G, T, S)
    if bias is not None:
        e += bias
    if masked is not None:
        np.copyto(e, np.finfo(e.dtype).min, where=masked)
    e -= e.max(-1, keepdims=True)
    np.exp(e, out=e)
    r = 1 / total(e)  # the softmax is A = r ⊙ e; it divides the outputs, which are fewer
    y = e @ v
    y *= r
    dy = once(lambda g: g * r)

    @once
    def ds(g):
        """Return the gradient of the scores, A ⊙ (dA - (A ⊙ dA) 1),  A = r ⊙ e,  dA = g vᵀ"""
        d = dy(g) @ swap(v)  # r ⊙ dA
        d -= r * dot(d, e)
        d *= e
        if masked is not None:
            np.copyto(d, 0, where=masked)  # also in a fully masked row, where A is 1/S
        return d

    return (
        y,
        lambda g: ds(g) @ k * scale,
        lambda g: swap(ds(g)) @ q,
        lambda g: swap(e) @ dy(g),
        ds,
    )


# -- normalisation ------------------------------------------------------------


@op
def layer_norm(x, g, b, eps=1e-5):
    """Return g n + b,  n = (x - mean) / √(var + ε), for x (B, T, D)        Ba et al. 2016, eq. 4"""
    D = x.shape[-1]
    return scaled(x - total(x) / D, g, eps, lambda dn: dn - total(dn) / D, b)


@op
def rms_norm(x, g, eps=1e-5):
    """Return g n,  n = x / √(mean x² + ε), for x (B, T, D)        Zhang & Sennrich 2019, eq. 4"""
    return scaled(x.copy(), g, eps, lambda dn: dn)


def scaled(n, g, eps, centre, b=None):
    """Return g n + b and its vjps, after n, an array, was divided in place by √(mean n² + ε).

    centre: the vjp of the step from x to the given n.  b: None for RMSNorm.
    """
    D = n.shape[-1]
    r = 1 / np.sqrt(dot(n, n) / D + eps)
    n *= r

    def dx(dy):
        dn = dy * g
        d = centre(dn)
        d -= n * (dot(dn, n) / D)
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
    """Return the cosines and sines (B, T, 1, d/2) of the angles position · ω of `rotate`.

    at (B, T): position ids.  ω (d/2,): frequencies.  like: an array of the dtype and the device.
    """
    angle = at[..., None, None] * ω
    return [np.asarray(f(angle), like.dtype, like=like) for f in (np.cos, np.sin)]


@op
def rotate(x, c, s):
    """Rotate each pair (i, i + d/2) of a head by its angle        Su et al. 2021, eq. 34

    x (B, T, H d)   c, s (B, T, 1, d/2): the cosines and sines of `angles`
    """
    d = 2 * c.shape[-1]

    def turn(x, s):
        heads = x.reshape(*x.shape[:2], x.shape[2] // d, d)
        a, b = heads[..., : d // 2], heads[..., d // 2 :]  # np.split takes 20 µs
        return np.concatenate([a * c - b * s, b * c + a * s], -1).reshape(x.shape)

    return turn(x, s), lambda g: turn(g, -s)


# -- losses -------------------------------------------------------------------


@op
def cross_entropy(z, target, count):
    """Return -1/count Σ log softmax(z)[target], a scalar, over the targets that are not negative.

    z (..., V): logits.  target (...): classes, as an array on the host; negative: no label.
    """
    losses, dz = labelled(z, target)
    count = float(count)  # an integer of NumPy would make float32 float64
    return np.asarray(losses.sum() / count, z.dtype, like=z), lambda g: dz(g / count)


@op
def log_probability(z, target):
    """Return log softmax(z)[target], of the shape of target, and 0 where target is negative."""
    losses, dz = labelled(z, target)
    return -losses, lambda g: dz(-g)


def labelled(z, target):
    """Return -log softmax(z)[target], of the shape of target, 0 where it is negative, and its vjp.

    The vjp takes g, an array of that shape or one number, and returns g (softmax(z) - 1[target]).
    """
    y = target.reshape(-1)
    at, real = np.arange(y.size, like=z), np.asarray(y >= 0, z.dtype, like=z)
    y, shape = np.asarray(np.maximum(y, 0), like=z), z.shape
    e = flat(z)
    e = e - e.max(-1, keepdims=True)
    losses = -e[at, y]
    np.exp(e, out=e)
    sums = total(e)
    losses += np.log(sums[:, 0])
    losses *= real

    def dz(g):
        g = g.reshape(-1) * real
        d = e * (g[:, None] / sums)
        d[at, y] -= g
        return d.reshape(shape)

    return losses.reshape(target.shape), dz


# -- elementwise, of losses -----------------------------------------------------


@op
def clip(x, low, high):
    """Return x limited to [low, high]; outside, the gradient is 0."""
    low, high = (np.asarray(bound, x.dtype, like=x) for bound in (low, high))
    inside = (low <= x) & (x <= high)
    return np.clip(x, low, high), lambda g: g * inside


@op
def log_sigmoid(x):
    """Return log σ(x) = -log(1 + exp(-x)); it is finite wherever x is."""
    return np.minimum(x, 0) - np.log1p(np.exp(-abs(x))), lambda g: g * sigmoid(-x)
