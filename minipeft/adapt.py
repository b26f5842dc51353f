"""How a frozen network is adapted.  Knows no method and no model."""

import copy
import re

import numpy as np

from .nn import but
from .ops import concat, front, pile, some, stretch, take
from .tensor import Tensor, once


class Adaptation:
    """The plain reading: every layer as it is.  A method says `start`, and `apply` or `past`.

    `at` maps the path of a layer to the parameters added there.  Each has two axes, (rows, columns);
    in a bank, or a batch of different users, a third stands in front, so that one equation serves all.
    One tensor may stand at several paths: it is then one parameter.
    """

    targets = r"(?!)"  # which layers, by path: none
    at: dict = None  # path of a layer -> the tensors added there, from `attach`
    base = None  # the configuration of the network it was attached to
    rng = None  # given for one forward: dropout; otherwise none
    shift_positions = (
        True  # the text's positions start after a prefix; after a prompt they always do
    )

    # -- what a method says

    def start(self, layer, rng):
        """The arrays added at `layer`, before training."""
        return ()

    def apply(self, layer, x, *added):
        """What `layer` yields for x once adapted: the equation of the method."""
        return layer(x)

    def weights(self, layer, *added):
        """The layer's own tensors once adapted, by name: for methods that are a change of weights, which merge."""
        raise ValueError(
            f"{type(self).__name__} is no change of weights, so it can't be merged into "
            f"{layer.path}; keep it beside the model: model(ids, adaptation)"
        )

    def past(self, layer, *added):
        """Rows standing before those that `layer` reads, (P, D) each; None: nothing stands there."""
        return None

    # -- what the network asks

    def __call__(self, layer, x):
        return self.apply(layer, x, *self.at[layer.path]) if layer.path in self.at else layer(x)

    def before(self, layer, B):
        """What stands before the B rows of the batch at `layer`, (B, P, D) each, and which is real, (B, P)."""
        rows = self.past(layer, *self.at[layer.path]) if layer.path in self.at else None
        if rows is None:
            return None
        rows = [stretch(p, (B, *p.shape[-2:])) for p in rows]
        return rows, np.ones(rows[0].shape[:2], bool)

    def shift(self, layer, B):
        """(B,): how much later each row's text starts, for what stands before it at `layer`."""
        b = self.before(layer, B) if self.shift_positions else None
        return b[1].sum(1) if b else np.zeros(B, int)

    def now(self, rng=None):
        """This adaptation for one forward: what depends on the parameters alone is computed here, once."""
        if self.at is None:
            name = type(self).__name__
            raise ValueError(
                f"{self!r} is attached to no model yet: {name}(...).attach(model, rng)"
            )
        return self if rng is None else but(self, rng=rng)

    # -- what the rest of the library asks

    def attach(self, model, rng):
        """Lay the parameters beside the layers of `model` that match `targets`.  Changes self, never the model."""
        places = {path: layer for path, layer in model.modules() if re.search(self.targets, path)}
        start = {path: self.start(layer, rng) for path, layer in places.items()}
        return self.lay(
            {path: [trained(np.asarray(p, model.dtype)) for p in ps] for path, ps in start.items()},
            model,
        )

    def lay(self, at, model):
        if not at:
            paths = ", ".join(path for path, _ in model.modules() if path)
            raise ValueError(f"no layer matches {self.targets!r}; the model has {paths}")
        self.at, self.base = at, model.config
        return self

    def adapts(self, path):
        return path in self.at

    @property
    def shared(self):
        """Is it one and the same for every row of any batch?"""
        return self.rng is None and all(p.ndim == 2 for p in self.parameters())

    def merged(self, layer):
        """The tensors of `layer` that the adaptation changes, changed, by name."""
        return self.weights(layer, *self.at[layer.path]) if layer.path in self.at else {}

    def kind(self):
        """Equal for two that differ in nothing but the numbers in their parameters."""
        return (
            type(self),
            repr(self),
            tuple((path, *(p.shape for p in ps)) for path, ps in self.at.items()),
        )

    def named_parameters(self):
        """Yield ("path.name", tensor): the names are those of the arguments of the method's equation."""
        for path, added in self.at.items():
            for name, p in zip(self.names(path), added, strict=True):
                yield f"{path}.{name}", p

    def names(self, path):
        """What the parameters added at `path` are called: as in the signature of `apply` or `past`."""
        says = self.past if type(self).past is not Adaptation.past else self.apply
        code = says.__func__.__code__
        skip = 2 if says.__name__ == "past" else 3  # self, layer, x
        return code.co_varnames[skip : code.co_argcount]

    def parameters(self):
        """Every trained tensor once, however many layers share it."""
        return list({id(p): p for _, p in self.named_parameters()}.values())

    def map(self, f):
        """The same adaptation with f(p) for every parameter p; one that layers share stays one."""
        new = {id(p): f(p) for p in self.parameters()}
        return self.using(new)

    def using(self, new):
        """The same adaptation with new[id(p)] in place of every parameter p."""
        return but(self, at={path: [new[id(p)] for p in added] for path, added in self.at.items()})

    def of(self, rows):
        """For these rows: what all rows share stays; what has an entry for each row, or user, is picked."""
        return self.map(lambda p: take(p, rows) if p.ndim == 3 else p)

    def astype(self, dtype):
        return self.map(lambda p: trained(p.data.astype(dtype)))


def trained(p):
    return Tensor(p, requires_grad=True)


PLAIN = Adaptation()
PLAIN.at = {}


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

    @property
    def base(self):
        return next((m.base for m in self.methods if m.base is not None), None)

    def attach(self, model, rng):
        for m in self.methods:
            m.attach(model, rng)
        return self

    def using(self, new):
        same = {id(m): m.using(new) for m in self.methods}
        return type(self)(*[same[id(m)] for m in self.methods])


class Chain(Several):
    """Several at once, the first nearest to the network, its rows furthest from the text."""

    def __init__(self, *methods):
        self.methods = methods

    def __repr__(self):
        return f"Chain({', '.join(map(repr, self.methods))})"

    def __call__(self, layer, x):
        for method in self.methods:
            if method.adapts(layer.path):
                layer = As(layer, lambda x, layer=layer, method=method: method(layer, x))
        return layer(x)

    def before(self, layer, B):
        found = [b for m in self.methods if (b := m.before(layer, B))]
        if not found:
            return None
        rows, real = zip(*found)
        return [concat(*r, axis=1) for r in zip(*rows)], np.concatenate(real, 1)

    def shift(self, layer, B):
        return sum(m.shift(layer, B) for m in self.methods)

    def now(self, rng=None):
        return Chain(*[m.now(rng) for m in self.methods])

    def kind(self):
        return Chain, *[m.kind() for m in self.methods]

    def merged(self, layer):
        new = {}
        for m in self.methods:
            new |= m.merged(layer.replace(**new))
        return new

    def of(self, rows):
        return Chain(*[m.of(rows) for m in self.methods])


class Each(Several):
    """Row i of the batch read through methods[i], whatever each of them is; None is PLAIN.

    `groups` are (method, its rows), and `back` puts their rows in order again.
    """

    shared = False

    def __init__(self, *methods):
        methods = (
            methods[0] if len(methods) == 1 and isinstance(methods[0], (list, tuple)) else methods
        )
        self.methods = [PLAIN if m is None else m for m in methods]
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
        """The layer is read once for the whole batch, and again only by a method that asks it something else."""
        if not self.adapts(layer.path):
            return layer(x)
        if len(self.groups) == 1:
            return self.groups[0][0](layer, x)
        whole = once(lambda: layer(x))
        parts = [
            m(As(layer, Share(layer, z := pick(x, rows), rows, whole)), z)
            for m, rows in self.groups
        ]
        return some(concat(*parts, axis=0), self.back)

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
        return [some(concat(*r, axis=0), self.back) for r in zip(*rows)], np.concatenate(real)[
            self.back
        ]

    def shift(self, layer, B):
        return np.concatenate([m.shift(layer, len(rows)) for m, rows in self.groups])[self.back]

    def now(self, rng=None):
        """Those that differ in nothing but the numbers in their parameters become one bank, read together."""
        now = {id(m): m.now(rng) for m, _ in self.groups}
        kinds, groups = {}, {}
        for m, rows in self.groups:
            kind = now[id(m)].kind()
            users = kinds.setdefault(kind, [])
            users.append(now[id(m)])
            who, where = groups.setdefault(kind, ([], []))
            who += [len(users) - 1] * len(rows)
            where += rows
        return but(self, methods=[now[id(m)] for m in self.methods]).grouped(
            (
                users[0] if len(users) == 1 else bank(users, pile).of(np.array(groups[kind][0])),
                groups[kind][1],
            )
            for kind, users in kinds.items()
        )

    def adapts(self, path):
        return any(m.adapts(path) for m, _ in self.groups)

    def of(self, rows):
        return Each([self.methods[i] for i in rows])


class As:
    """A layer as someone shows it: its names and tensors, but another answer."""

    def __init__(self, layer, answer):
        self.layer, self.answer = layer, answer

    def __call__(self, x):
        return self.answer(x)

    def __getattr__(self, name):
        return getattr(self.layer, name)


class Share:
    """What some rows get from a layer that is read once for the whole batch."""

    def __init__(self, layer, x, rows, whole):
        self.layer, self.x, self.rows, self.whole = layer, x, rows, whole

    def __call__(self, x):
        if x is self.x:
            return some(self.whole(), self.rows)
        if self.layer.inner:
            raise TypeError(
                f"{self.layer.path} attends over the whole batch: beside other rows a method can ask it "
                "only for its own input; adapt the layers inside it instead"
            )
        return self.layer(x)


def nothing(B, like):
    """No rows for each of B, of the width and kind of `like`."""
    return Tensor(np.zeros((B, 0, like.shape[-1]), like.dtype, like=like.data))


def pick(x, rows):
    return some(x, rows) if isinstance(x, Tensor) else x[rows]


def bank(methods, join):
    """One adaptation that holds those of many users, along a third axis in front."""
    sets = [m.parameters() for m in methods]
    return methods[0].using({id(ps[0]): join(*ps) for ps in zip(*sets, strict=True)})


def stack(methods):
    """A bank to train and to serve from: `stack(users).of(who)` reads row i as user who[i]."""
    kinds = {m.kind(): m for m in methods}
    if len(kinds) != 1:
        raise ValueError(
            "a bank holds one method for many users, but these differ: "
            f"{', '.join(map(repr, kinds.values()))}; use Each([...])"
        )
    return bank(methods, lambda *ps: trained(np.stack([p.data for p in ps])))


def merge(model, adapt):
    """A new model with the adaptation in its weights.  The given one stays as it is."""
    new, adapt = {}, adapt.now()
    for path, layer in model.modules():
        changed = adapt.merged(layer)
        for name, old in layer.tensors().items():
            t = changed.get(name, old)
            if t is not new.setdefault(id(old), t):
                raise ValueError(
                    f"{path}.{name} is shared with another layer, which is not changed in the same way: "
                    "merging would tear them apart; leave it out of `targets`"
                )
    return copy.deepcopy(
        model, {id(t): Tensor(new[id(t)].data.reshape(t.shape).copy()) for t in model.parameters()}
    ).frozen()
