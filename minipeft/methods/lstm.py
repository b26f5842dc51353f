"""Long short-term memory: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.

T steps   I inputs   n width of the states
W (I, 4n)   U (n, 4n)   b (1, 4n): for the input, forget, cell and output gate, concatenated.
All may have the same axes in front, for the users of a bank.
"""

import numpy as np

from ..autograd.functional import sigmoid
from ..autograd.ops import concat, flip, swap
from ..autograd.tensor import once, op


@op
def lstm(x, W, U, b):
    """Return the states h (T, n) for x (T, I).

    h_t = o ⊙ tanh c_t,  c_t = f ⊙ c_{t-1} + i ⊙ g,  h_0 = c_0 = 0
    (i, f, g, o) = x_t W + h_{t-1} U + b, then σ of i, f and o, and tanh of g
    """
    n = U.shape[-2]
    a = x @ W + b
    h = c = np.zeros_like(a[..., :1, :n])
    gates, cells, hs = [], [c], [h]
    for t in range(x.shape[-2]):
        i, f, g, o = np.split(a[..., t : t + 1, :] + h @ U, 4, -1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        gates.append((i, f, g, o))
        cells.append(c)
        hs.append(h)
    before = np.concatenate(hs[:-1], -2)  # h_{t-1} of every step

    @once
    def da(dy):
        """Return the gradient of x_t W + h_{t-1} U + b, by backpropagation through time."""
        dh = dc = np.zeros_like(c)
        steps = []
        for t in reversed(range(len(gates))):
            (i, f, g, o), tanh_c = gates[t], np.tanh(cells[t + 1])
            dh = dh + dy[..., t : t + 1, :]
            dc = dc + dh * o * (1 - tanh_c * tanh_c)
            di, df, dg, do = dc * g, dc * cells[t], dc * i, dh * tanh_c
            parts = di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)
            steps.append(np.concatenate(parts, -1))
            dh, dc = steps[-1] @ swap(U), dc * f
        return np.concatenate(steps[::-1], -2)

    return (
        np.concatenate(hs[1:], -2),
        lambda g: da(g) @ swap(W),
        lambda g: swap(x) @ da(g),
        lambda g: swap(before) @ da(g),
        da,
    )


def bidirectional(x, forth, back):
    """Return [→h ; ←h] (T, 2n) for x (T, I); forth and back are the (W, U, b) of the directions."""
    return concat(lstm(x, *forth), flip(lstm(flip(x), *back)), axis=-1)
