"""Operations as a reader would write them, where it takes more than a line."""

import math

import numpy as np


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def exact_gelu(x):
    return np.reshape([t / 2 * (1 + math.erf(t / 2**0.5)) for t in x.ravel()], x.shape)


def layer_norm(x, g, b, eps):
    return g * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) + b


def rms_norm(x, g, eps):
    return g * x / np.sqrt((x**2).mean(-1, keepdims=True) + eps)


def attention(q, k, v, bias=0.0, *, masked=False, scale):
    """One head and one query at a time; one that may see nothing sees everything alike."""
    y = np.zeros((*q.shape[:-1], v.shape[-1]))
    bias, masked = (np.broadcast_to(x, (*q.shape[:-1], k.shape[-2])) for x in (bias, masked))
    for at in np.ndindex(q.shape[:-1]):
        b, group, _, _ = at
        w = [
            0.0 if h else math.exp(scale * (q[at] @ key) + c)
            for key, c, h in zip(k[b, group, 0], bias[at], masked[at])
        ]
        w = w if any(w) else [1.0] * len(w)
        y[at] = sum(a * value for a, value in zip(w, v[b, group, 0])) / sum(w)
    return y


def memory_cell(x, W, U, b):
    """One unit and one step at a time, of one user or of each."""
    if x.ndim == 3:
        return np.reshape([memory_cell(*user) for user in zip(x, W, U, b)], (*x.shape[:2], -1))
    σ, n = lambda t: 1 / (1 + np.exp(-t)), len(U)
    h, c, y = np.zeros(n), np.zeros(n), []
    for x_t in x:
        i, f, g, o = np.split(x_t @ W + h @ U + b[0], 4)
        c = σ(f) * c + σ(i) * np.tanh(g)
        h = σ(o) * np.tanh(c)
        y.append(h)
    return np.array(y)


def lookup(W, ids):
    tables = [W] * len(ids) if W.ndim == 2 else W
    rows = [[table[i] for i in text] for table, text in zip(tables, ids)]
    return np.reshape(rows, (*ids.shape, W.shape[-1]))


def picked(x, at):
    places = np.arange(x.size).reshape(x.shape)[at]
    return np.reshape([x[np.unravel_index(i, x.shape)] for i in places.ravel()], places.shape)


def rows_of(x, rows):
    return np.reshape([x[row] for row in rows], (len(rows), *x.shape[1:]))


def split_heads(x, K, d):
    B, T, D = x.shape
    y = np.zeros((B, K, D // (K * d), T, d))
    for b, k, g, t, i in np.ndindex(y.shape):
        y[b, k, g, t, i] = x[b, t, (k * y.shape[2] + g) * d + i]
    return y


def join_heads(x):
    B, K, G, T, d = x.shape
    y = np.zeros((B, T, K * G * d))
    for b, k, g, t, i in np.ndindex(x.shape):
        y[b, t, (k * G + g) * d + i] = x[b, k, g, t, i]
    return y


def rotate(x, c, s):
    """The pair (a, b) is the number a + ib: turned, it is (a + ib) exp(i angle)."""
    y, d = np.zeros(x.shape), 2 * c.shape[-1]
    for b, t in np.ndindex(x.shape[:2]):
        for head in range(0, x.shape[2], d):
            for i in range(d // 2):
                j, k = head + i, head + i + d // 2
                z = complex(x[b, t, j], x[b, t, k]) * complex(c[b, t, 0, i], s[b, t, 0, i])
                y[b, t, j], y[b, t, k] = z.real, z.imag
    return y


def log_probability(z, target):
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    y = [np.log(p[at][y]) if y >= 0 else 0.0 for at, y in np.ndenumerate(target)]
    return np.reshape(y, target.shape)


def cross_entropy(z, target, count):
    return -log_probability(z, target).sum() / count
