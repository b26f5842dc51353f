"""Several adaptations at once: a Chain of them for every row, or Each row through its own."""

from functools import reduce

import numpy as np

from .adapt import PLAIN, Adaptation, As, bank
from .nn import but
from .ops import concat, front, pile, take
from .tensor import Tensor, once


class Several(Adaptation):
    """What Chain and Each share: an adaptation made of others, `methods`."""

    def adapts(self, path):
        return any(m.adapts(path) for m in self.methods)

    def named_parameters(self):
        for i, m in enumerate(self.methods):
            for name, p in m.named_parameters():
                yield f"{i}.{name}", p

    @property
    def shared(self):
        return all(m.shared for m in self.methods)

    def serves(self, B):
        for m in self.methods:
            m.serves(B)

    def outermost(self, path):
        return any(m.outermost(path) for m in self.methods)

    @property
    def base(self):
        return next((m.base for m in self.methods if m.base is not None), None)

    @property
    def mark(self):
        return next((m.mark for m in self.methods if m.mark is not None), None)

    @property
    def network(self):
        return next((m.network for m in self.methods if m.network is not None), None)

    def fits(self, config):
        for m in self.methods:
            m.fits(config)

    def attach(self, model, rng):
        for m in self.methods:
            if m is not PLAIN:
                m.attach(model, rng)
        return self

    def using(self, new):
        same = {id(m): m.using(new) for m in self.methods}
        return type(self)(*[same[id(m)] for m in self.methods])


class Chain(Several):
    """Several at once, the first nearest to the network, its rows furthest from the text.

    One that computes with other weights of a layer does so in place of those before it there.
    """

    def __init__(self, *methods):
        self.methods = tuple(PLAIN if m is None else m for m in methods)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(map(repr, self.methods))})"

    def __call__(self, layer, x):
        for method in self.methods:
            if method.adapts(layer.path):
                layer = As(layer, method)
        return layer(x)

    def before(self, layer, B):
        found = [b for m in self.methods if (b := m.before(layer, B))]
        if not found:
            return None
        rows, real = zip(*found)
        return [concat(*r, axis=1) for r in zip(*rows)], np.concatenate(real, 1)

    def shift(self, layer, B):
        return sum((m.shift(layer, B) for m in self.methods), np.zeros(B, int))

    def counted(self, real):
        return reduce(lambda real, m: m.counted(real), self.methods, real)

    def shown(self, real):
        return reduce(lambda real, m: m.shown(real), self.methods, real)

    @property
    def template(self):
        own = {m.template for m in self.methods} - {PLAIN.template}
        if len(own) > 1:
            raise ValueError(f"a text has one layout, but in this Chain are {', '.join(own)}")
        return own.pop() if own else PLAIN.template

    def pseudo(self, B):
        own = [m for m in self.methods if np.any(m.pseudo(B))]
        if len(own) > 1:
            raise ValueError(
                "each row has pseudo-tokens of one method, V, V + 1, …; in a Chain these "
                f"have some: {', '.join(map(repr, own))}"
            )
        return own[0].pseudo(B) if own else 0

    def now(self, rng=None):
        return type(self)(*[m.now(rng) for m in self.methods])

    def kind(self):
        return type(self), *[m.kind() for m in self.methods]

    def merged(self, layer):
        new = {}
        for m in self.methods:
            if changed := m.merged(layer):
                new |= changed
                layer = As(layer.replace(**changed), m)
        return new

    def of(self, rows):
        return type(self)(*[m.of(rows) for m in self.methods])


class Each(Several):
    """Row i of the batch read through methods[i], whatever each of them is; None is PLAIN.

    `groups` are (method, its rows), and `back` puts their rows in order again.
    """

    shared = False

    def __init__(self, *methods):
        if len(methods) == 1 and isinstance(methods[0], (list, tuple)):
            (methods,) = methods
        self.methods = [PLAIN if m is None else m for m in methods]
        if not self.methods:
            raise ValueError("a mixture has a method for each row of a batch; here is none")
        alike = {}
        for i, m in enumerate(self.methods):
            alike.setdefault(id(m), (m, []))[1].append(i)
        self.grouped(alike.values())

    def __repr__(self):
        return f"Each({self.methods!r})"

    def grouped(self, groups):
        self.groups = list(groups)
        self.back = np.argsort(np.concatenate([rows for _, rows in self.groups]))
        return self

    def __call__(self, layer, x):
        """The layer is read once for all rows, and again only by who asks it something else."""
        if not self.adapts(layer.path):
            return layer(x)
        if len(self.groups) == 1:
            return self.groups[0][0](layer, x)
        whole = once(lambda: layer(x))
        parts = [m(As(layer, Share(z := pick(x, rows), rows, whole)), z) for m, rows in self.groups]
        return take(concat(*parts, axis=0), self.back)

    def before(self, layer, B):
        found = [(m.before(layer, len(rows)), len(rows)) for m, rows in self.groups]
        like = next((b[0] for b, _ in found if b), None)
        if like is None:
            return None
        P = max(b[1].shape[1] for b, _ in found if b)
        rows, real = [], []
        for b, n in found:  # against the text, whatever the length
            own, true = b or ([nothing(n, r) for r in like], np.zeros((n, 0), bool))
            rows.append([front(r, P) for r in own])
            real.append(np.pad(true, ((0, 0), (P - true.shape[1], 0))))
        rows = [take(concat(*r, axis=0), self.back) for r in zip(*rows)]
        return rows, self.ordered(real)

    def serves(self, B):
        if B != (n := len(self.back)):
            raise ValueError(f"a mixture of {n} can't read a batch of {B}: one for each row")
        for m, rows in self.groups:
            m.serves(len(rows))

    def pseudo(self, B):
        return self.ordered(
            np.broadcast_to(m.pseudo(len(rows)), (len(rows), 1)) for m, rows in self.groups
        )

    def shift(self, layer, B):
        return self.ordered(m.shift(layer, len(rows)) for m, rows in self.groups)

    def counted(self, real):
        return self.ordered(m.counted(real[rows]) for m, rows in self.groups)

    def shown(self, real):
        found = [m.shown(real[rows]) for m, rows in self.groups]
        if len({s.shape[1] for s in found}) > 1:
            raise ValueError(
                "rows that show their prompts, as PEFT has it, can't stand beside others: read "
                "them alone"
            )
        return self.ordered(found)

    def ordered(self, parts):
        """What the groups say of their rows, one array for the batch."""
        return np.concatenate([*parts])[self.back]

    def now(self, rng=None):
        """Those that differ in nothing but the numbers in their parameters become one bank."""
        now = {id(m): m.now(rng) for m, _ in self.groups}
        kinds = {}
        for m, rows in self.groups:
            users, who, where = kinds.setdefault(now[id(m)].kind(), ([], [], []))
            who += [len(users)] * len(rows)
            where += rows
            users.append(now[id(m)])
        return but(self, methods=[now[id(m)] for m in self.methods]).grouped(
            joined(users, np.array(who), np.array(where)) for users, who, where in kinds.values()
        )

    def adapts(self, path):
        return any(m.adapts(path) for m, _ in self.groups)

    def merged(self, layer):
        raise ValueError("a mixture has other weights for each row; merge one of its methods")

    def of(self, rows):
        return Each([self.methods[i] for i in rows])


def joined(users, who, where):
    """The bank of users[who[i]] for rows where[i] of a batch, and these rows in order."""
    order = np.argsort(where)
    own = users[0] if len(users) == 1 else bank(users, pile).of(who[order])
    return own, where[order].tolist()


class Share:
    """What some rows get from a layer that is read once for the whole batch."""

    def __init__(self, x, rows, whole):
        self.x, self.rows, self.whole = x, rows, whole

    def __call__(self, layer, x):
        if x is self.x:
            return take(self.whole(), self.rows)
        if layer.inner:
            raise TypeError(
                f"{layer.path} attends over the whole batch: beside other rows a method can "
                "ask it only for its own input; adapt the layers inside it instead"
            )
        return layer(x)


def nothing(B, like):
    """No rows for each of B, of the width and kind of `like`."""
    return Tensor(np.zeros((B, 0, like.shape[-1]), like.dtype, like=like.data))


def pick(x, rows):
    return take(x, rows) if isinstance(x, Tensor) else x[rows]
