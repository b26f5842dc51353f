"""Operations on arrays: arithmetic, products, indexing, joining.

A function under @op returns its value, then one vjp (vector-Jacobian product) for each argument:
see `op` in tensor.py.  In a vjp, g is the gradient of the value.  A vjp that needs only
the shape of an array captures the shape, so that the array can be freed.

B batch   T rows   I inputs   O outputs   D width   V vocabulary   N numbers
"""

import itertools

import numpy as np

from .tensor import Tensor, op


def swap(x):
    """Return x with its last two axes swapped."""
    return x.swapaxes(-1, -2)


def flat(x):
    """Return x (..., D) as (rows, D)."""
    return x.reshape(-1, x.shape[-1])


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
def sum(x, axis=None):
    """Return the sum along an axis, or of all numbers; the axes are kept, with length 1."""
    shape = x.shape
    return x.sum(axis, keepdims=True), lambda g: np.broadcast_to(g, shape)


# -- products -----------------------------------------------------------------


@op
def matmul(a, b):
    """Return a b for a (..., T, I) and b (..., I, O), or one b (I, O) for all leading axes."""
    if b.ndim == 2:
        shape = a.shape
        return (
            (flat(a) @ b).reshape(*shape[:-1], b.shape[1]),
            lambda g: (flat(g) @ b.T).reshape(shape),
            lambda g: flat(a).T @ flat(g),
        )
    return a @ b, lambda g: g @ swap(b), lambda g: swap(a) @ g


@op
def transpose(x):
    """Return x with its last two axes swapped."""
    return swap(x), swap


@op
def flip(x):
    """Return the rows of x (..., T, I) in reverse order."""
    return x[..., ::-1, :], lambda g: g[..., ::-1, :]


# -- picking and joining ------------------------------------------------------


@op
def lookup(W, ids):
    """Return W[ids] for W (V, D), or W[b][ids[b]] for each row b of the batch and W (B, V, D)."""
    ids = np.asarray(ids, like=W)
    at = ids if W.ndim == 2 else (np.arange(len(W), like=W)[:, None], ids)
    shape = W.shape

    def dW(g):
        d = zeros(shape, like=g)
        np.add.at(d, at, g)
        return d

    return W[at], dW


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
    n = P - x.shape[1]
    return np.pad(x, ((0, 0), (n, 0), (0, 0))), lambda g: g[:, n:]


@op
def reshape(x, shape):
    before = x.shape
    return x.reshape(shape), lambda g: g.reshape(before)


@op
def broadcast_to(x, shape):
    return np.broadcast_to(x, shape), lambda g: g


Tensor.__add__, Tensor.__sub__, Tensor.__mul__, Tensor.__truediv__ = add, sub, mul, div
Tensor.__matmul__ = matmul
Tensor.__radd__, Tensor.__rmul__ = lambda b, a: add(a, b), lambda b, a: mul(a, b)
Tensor.__rsub__, Tensor.__rtruediv__ = lambda b, a: sub(a, b), lambda b, a: div(a, b)
Tensor.__rmatmul__ = lambda b, a: matmul(a, b)
Tensor.__neg__ = lambda x: mul(x, -1.0)
