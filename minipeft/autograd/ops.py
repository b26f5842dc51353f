"""Operations on arrays: arithmetic, products, indexing, joining.

A function under @op returns its value, then one vjp (vector-Jacobian product) for each argument:
see `op` in tensor.py.  In a vjp, g is the gradient of the value.  A vjp that needs only
the shape of an array captures the shape, so that the array can be freed.

B batch   T rows   I inputs   O outputs   D width   V vocabulary   N numbers
"""

import itertools

import numpy as np

from .arraylike import OPERATIONS
from .products import product
from .tensor import Tensor, op


def swap(x):
    """Return x with its last two axes swapped."""
    return x.swapaxes(-1, -2)


def flat(x):
    """Return x (..., D) as (rows, D)."""
    return x.reshape(-1, x.shape[-1])


def total(x):
    """Return the sum of x along its last axis, (..., 1): a third of the time of x.sum."""
    return np.einsum("...i->...", x)[..., None]


def dot(x, y):
    """Return the sum of x ⊙ y along their last axis, (..., 1)."""
    return np.einsum("...i,...i->...", x, y)[..., None]


def zeros(shape, like):
    """Return zeros of the dtype and on the device of the array `like`."""
    return np.zeros(shape, like.dtype, like=like)


# -- arithmetic ---------------------------------------------------------------


@op
def add(a, b):
    return a + b, lambda g: g, lambda g: g


@op
def sub(a, b):
    return a - b, lambda g: g, lambda g: -g


@op
def mul(a, b):
    return a * b, lambda g: g * b, lambda g: g * a


@op
def div(a, b):
    y = a / b
    return y, lambda g: g / b, lambda g: -g * y / b


@op
def power(a, b):
    """Return aᵇ."""
    y = a**b
    return (
        y,
        lambda g: g * (b * a ** (b - (b != 0))),  # for b = 0 it is 0, also at a = 0
        lambda g: g * (y * np.log(np.asarray(a, y.dtype, like=y))),
    )


@op
def exp(x):
    y = np.exp(x)
    return y, lambda g: g * y


@op
def log(x):
    return np.log(x), lambda g: g / x


@op
def sqrt(x):
    y = np.sqrt(x)
    return y, lambda g: g / (2 * y)


@op
def tanh(x):
    y = np.tanh(x)
    return y, lambda g: g * (1 - y * y)


@op
def sum(x, axis=None, keepdims=False):
    """Return the sum along an axis, a tuple of axes, or of all numbers, as np.sum."""
    y, shape = x.sum(axis, keepdims=True), x.shape
    kept = y.shape
    y = y if keepdims else np.squeeze(y, axis)
    return y, lambda g: np.broadcast_to(g.reshape(kept), shape)


def mean(x, axis=None, keepdims=False):
    """Return the mean along an axis, a tuple of axes, or of all numbers, as np.mean."""
    y = sum(x, axis, keepdims)
    return y / (x.size // max(1, y.size))


# -- products -----------------------------------------------------------------


@op
def matmul(a, b):
    """Return a b for a (..., T, I) and b (..., I, O), or one b (I, O) for all leading axes.

    a and b may be vectors (I,), as for np.matmul.
    """
    if b.ndim == 1:
        return a @ b, lambda g: g[..., None] * b, lambda g: flat(a).T @ g.reshape(-1)
    if a.ndim == 1 and b.ndim > 2:
        return a @ b, lambda g: (b @ g[..., None])[..., 0], lambda g: a[:, None] * g[..., None, :]
    if b.ndim == 2:
        shape = a.shape
        return (
            product(flat(a), b).reshape(*shape[:-1], b.shape[1]),
            lambda g: product(flat(g), b.T).reshape(shape),
            lambda g: product(flat(a).T, flat(g)),
        )
    return a @ b, lambda g: g @ swap(b), lambda g: swap(a) @ g


@op
def transpose(x):
    """Return x with its last two axes swapped."""
    return swap(x), swap


@op
def transpose_axes(x, axes):
    """Return x with its axes in this order."""
    return x.transpose(axes), lambda g: g.transpose(np.argsort(axes))


@op
def flip(x):
    """Return the rows of x (..., T, I) in reverse order."""
    return x[..., ::-1, :], lambda g: g[..., ::-1, :]


@op
def reverse_axes(x):
    """Return x with its axes in reverse order, as x.T."""
    return x.T, lambda g: g.T


# -- picking and joining ------------------------------------------------------


@op
def index(x, at):
    """Return x[at] for any index of NumPy; a number may be picked several times."""
    put = lambda i: np.asarray(i, like=x) if isinstance(i, np.ndarray) else i
    at, shape = tuple(map(put, at)) if isinstance(at, tuple) else put(at), x.shape

    def dx(g):
        d = zeros(shape, like=g)
        np.add.at(d, at, g)
        return d

    return x[at], dx


@op
def lookup(W, ids):
    """Return W[ids] for W (V, D), or W[b][ids[b]] for each row b of the batch and W (B, V, D).

    ids (B, T): numbers from 0 to V - 1; one may be looked up several times.
    """
    rows, shape = np.asarray(ids, like=W), W.shape
    if W.ndim == 3:
        rows = rows + shape[1] * np.arange(shape[0], like=W)[:, None]

    def dW(g):
        """Return zeros to which the rows of g are added.

        np.add.at takes 1.2 ms for (16, 28, 128) along the first axis, and 0.2 for single numbers.
        """
        d, D = zeros(shape, like=g), shape[-1]
        at = rows[..., None] * D + np.arange(D, like=g)
        np.add.at(d.reshape(-1), at.reshape(-1), g.reshape(-1))
        return d

    return flat(W)[rows], dW


@op
def take(x, rows):
    """Return x[rows]; a row may be taken any number of times."""
    shape, rows = x.shape, np.asarray(rows)
    at = np.asarray(rows, like=x)

    def dx(g):
        d, taken = zeros(shape, like=g), set(rows.tolist())
        if len(taken) == len(rows):
            d[at] = g
        else:
            for row in taken:  # np.add.at takes 1.7 ms for (32, 64, 128), and this 0.07
                d[row] = g[np.flatnonzero(rows == row)].sum(0)
        return d

    return x[at], dx


@op
def narrow(x, start, stop, axis=-1):
    """Return x[start:stop] along one axis."""
    part, shape = (slice(None),) * (axis % x.ndim) + (slice(start, stop),), x.shape

    def dx(g):
        d = zeros(shape, like=g)
        d[part] = g
        return d

    return x[part], dx


@op
def scatter(p, at, shape):
    """Return zeros (..., *shape) with the numbers p (..., 1, N) at the indices at (N, 2)."""
    rows, columns = (np.asarray(i, like=p) for i in at.T)
    y = zeros((*p.shape[:-2], *shape), like=p)
    y[..., rows, columns] = p[..., 0, :]
    return y, lambda g: g[..., rows, columns][..., None, :]


@op
def concat(*xs, axis):
    """Return the tensors concatenated along an existing axis."""
    axis %= xs[0].ndim
    ends = list(itertools.accumulate(x.shape[axis] for x in xs))
    whole = (slice(None),) * axis
    parts = [(*whole, slice(end - x.shape[axis], end)) for x, end in zip(xs, ends)]
    return np.concatenate(xs, axis), *[lambda g, part=part: g[part] for part in parts]


@op
def stack(*xs):
    """Return the tensors stacked along a new first axis."""
    return np.stack(xs), *[lambda g, i=i: g[i] for i in range(len(xs))]


@op
def pad_left(x, P):
    """Return x (B, T, D) with P - T rows of zeros in front, (B, P, D)."""
    B, T, D = x.shape
    n = P - T
    return np.concatenate([zeros((B, n, D), like=x), x], 1), lambda g: g[:, n:]


@op
def reshape(x, shape):
    before = x.shape
    return x.reshape(shape), lambda g: g.reshape(before)


@op
def broadcast_to(x, shape):
    return np.broadcast_to(x, shape), lambda g: g


Tensor.sum, Tensor.mean, Tensor.__getitem__ = sum, mean, index
Tensor.T = property(reverse_axes)
Tensor.reshape = lambda x, *shape: reshape(x, shape if len(shape) > 1 else shape[0])
OPERATIONS |= {
    np.add: add,
    np.subtract: sub,
    np.multiply: mul,
    np.divide: div,
    np.power: power,
    np.matmul: matmul,
    np.negative: lambda x: mul(x, -1.0),
    np.positive: lambda x: x,
    np.exp: exp,
    np.log: log,
    np.sqrt: sqrt,
    np.tanh: tanh,
    np.sum: sum,
    np.mean: mean,
    np.reshape: reshape,
    np.ndim: lambda x: x.ndim,
    np.shape: lambda x: x.shape,
}
