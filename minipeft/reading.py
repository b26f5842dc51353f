"""What a forward pass holds in its hand, and what outlives it: positions and masks, from one fact.

`real` (B, S) tells which rows read so far are real, in the order in which they were read.  All else
follows: a row's position is the number of real ones before it, and it sees those, wherever padding
lies, however long the prompts and prefixes of the other rows are, and whatever a cache holds.
"""

from functools import reduce
from operator import or_

import numpy as np

from .adapt import PLAIN, Adaptation, As
from .nn import but
from .ops import concat, cut, lookup, stretch, take


class Memory:
    """One adaptation and what it has read: each attention's keys and values, and which are real.

    It lives as long as a text: `model(ids[:, :5], memory=m)`, then `model(ids[:, 5:], memory=m)`.
    """

    def __init__(self, adapt=PLAIN, rng=None, keep=True):
        self.adapt, self.keep = (adapt or PLAIN).now(rng), keep
        self.kv, self.real, self.start = {}, None, None

    def of(self, rows):
        """The memory of these rows: for beams."""
        kv = {path: ([take(x, rows) for x in xs], r[rows]) for path, (xs, r) in self.kv.items()}
        adapt, real, start = self.adapt.of(rows), self.real[rows], self.start[rows]
        return but(self, adapt=adapt, kv=kv, real=real, start=start)

    def shared(self, B):
        """The memory of one row as that of B rows, which share it."""
        many = lambda real: np.repeat(real, B, axis=0)
        kv = {
            path: ([stretch(x, (B, *x.shape[1:])) for x in xs], many(r))
            for path, (xs, r) in self.kv.items()
        }
        return but(self, kv=kv, real=many(self.real), start=many(self.start), keep=False)


class Reading:
    """One forward: how the network asks for a layer, and where each row stands."""

    def __init__(self, memory, config, last, rows=None):
        self.memory, self.causal, self.window = memory, config.causal, config.window
        self.last, self.rows, self.hidden = last, rows, {}

    def __call__(self, layer, x):
        return self.memory.adapt(
            As(layer, lambda layer, x: layer(x, self)) if layer.inner else layer, x
        )

    def lead(self, layer, h, real, first):
        """h behind the prompt of `layer`, once; positions, after the prefix of `first`."""
        m, (B, T), shown = self.memory, real.shape, real
        if m.real is None:
            shown = m.adapt.shown(real)
            (h,), real = after(m.adapt.before(layer, B), [h], real)
            m.start, m.real = m.adapt.shift(first, B), real
        else:
            m.real = np.concatenate([m.real, real], 1)
        self.real, self.prompt = real, real.shape[1] - T
        self.first = real.shape[1] - shown.shape[1]  # row that is shown
        count = m.adapt.counted(m.real).cumsum(1)[:, -real.shape[1] :]
        self.at = m.start[:, None] + np.maximum(count - 1, 0)
        return h

    def extend(self, layer, k, v):
        """Keys and values of all that `layer` has read, prefix first, and which are real."""
        m = self.memory
        past = m.kv.get(layer.path) or m.adapt.before(layer, k.shape[0])
        (k, v), real = after(past, [k, v], self.real)
        if m.keep:
            m.kv[layer.path] = [k, v], real
        return k, v, real

    def hides(self, real, like):
        """`hiding`, brought to where `like` is once a forward for all layers that see the same."""
        key = real.tobytes()
        if key not in self.hidden:
            hidden = self.hiding(real)
            self.hidden[key] = hidden if hidden is None else np.asarray(hidden, like=like)
        return self.hidden[key]

    def hiding(self, real):
        """The keys that rows may not see: padding, younger ones, those too far away; or None."""
        T, S = self.real.shape[1], real.shape[1]
        age = np.arange(S)
        parts = [age > age[S - T :, None]] if self.causal and T > 1 else []  # (T, S)
        if not real.all():
            parts.append(~real[:, None, None, None, :])  # (B, 1, 1, 1, S)
        if self.window and S > self.window:
            at = self.memory.adapt.counted(real).cumsum(1)
            far = at[:, S - T :, None] - at[:, None] >= self.window  # (B, T, S)
            parts.append(far[:, None, None])
        return reduce(or_, parts) if parts else None

    def asked(self, block, h):
        """The text's rows, or `rows` of it: what is asked, once no later attention needs more."""
        if block is not self.last or not self.prompt and self.rows is None:
            return h
        if self.rows is None:
            return cut(h, self.first, None, axis=1)
        return lookup(h, self.rows + self.prompt)


def after(before, xs, real):
    """Each of xs behind the rows that stand before it, and which of all these are real."""
    if before is None:
        return xs, real
    rows, true = before
    xs = [concat(r, x, axis=1) for r, x in zip(rows, xs, strict=True)]
    return xs, np.concatenate([true, real], 1)


class Look(Adaptation):
    """Every block as it is; what the first reads, and what each yields, is kept."""

    targets = r"^blocks\.\d+$"

    def __init__(self):
        self.seen = []

    def apply(self, layer, x):
        y = layer(x)
        self.seen += [y.data] if self.seen else [x.data, y.data]
        return y
