"""How a frozen network is adapted.  Knows no method and no model."""

import re
from numbers import Integral

import numpy as np

from . import backend
from .nn import but
from .ops import stretch, take
from .patterns import matches
from .tensor import Tensor


class Adaptation:
    """How the layers of a frozen network are read.  A method says `start`, and `apply` or `past`.

    `at` maps the path of a layer to the parameters added there.  Each has two axes, (rows,
    columns); in a bank, or a batch of different users, a third stands in front, so that one
    equation serves all.  One tensor may stand at several paths: it is then one parameter.
    """

    targets = r"(?!)"  # which layers, by path: none
    at: dict = None  # path of a layer -> the tensors added there, from `attach`
    base = None  # the configuration of the network it was attached to
    mark = None  # and which of these networks it was
    network = None  # and of which class
    dropout = 0.0  # of a method that has any
    rng = None  # what draws it, given for one forward; otherwise there is none
    rate = 3e-3  # of learning, to begin with
    innermost = False  # in a Chain it stands before the others of a layer
    template = "{x}"  # how a text is laid out for it, among pseudo-tokens and words
    shift_positions = True  # the text's positions start after a prefix, as always after a prompt

    def __post_init__(self):
        """Fields of a method: an int counts something, so it is at least 1; a float is finite."""
        for name, field in self.__dataclass_fields__.items():
            value = getattr(self, name)
            good = True
            if field.type is int:
                must, good = "a whole number from 1", isinstance(value, Integral) and value >= 1
            elif name == "dropout":
                must, good = "from 0 to below 1", 0 <= value < 1
            elif field.type is float:
                must, good = "finite", np.isfinite(value)
            elif field.type is tuple and isinstance(value, np.ndarray):
                setattr(self, name, tuple(value.tolist()))
            if not good:
                raise ValueError(f"{type(self).__name__}: {name}={value} must be {must}")

    # -- what a method says

    def start(self, layer, rng):
        """The arrays added at `layer`, before training."""
        return ()

    def apply(self, layer, x, *added):
        """What `layer` yields for x once adapted: the equation of the method."""
        return layer(x)

    def weights(self, layer, *added):
        """The layer's own tensors once adapted, by name: for methods that merge."""
        raise ValueError(
            f"{type(self).__name__} is no change of weights, so it can't be merged into "
            f"{layer.path}; keep it beside the model: model(ids, adaptation)"
        )

    def past(self, layer, *added):
        """Rows that stand before those that `layer` reads, (P, D) each; None: nothing does."""
        return None

    # -- what the network asks

    def __call__(self, layer, x):
        return self.apply(layer, x, *self.added(layer)) if layer.path in self.at else layer(x)

    def added(self, layer):
        """The parameters at `layer`, if it may stand upon those that have adapted it before."""
        under = layer
        while isinstance(under, As):
            if isinstance(other := under.answer, Adaptation):
                if self.innermost or other.outermost(layer.path):
                    alone, side = (self, "before") if self.innermost else (other, "behind")
                    raise ValueError(
                        f"{alone!r} stands {side} the others that adapt {layer.path}: in a Chain "
                        f"put it {side} {(other if alone is self else self)!r}"
                    )
            under = under.layer
        return self.at[layer.path]

    def before(self, layer, B):
        """`past` for a batch of B: rows (B, P, D) each, and which of them are real, (B, P)."""
        rows = self.past(layer, *self.at[layer.path]) if layer.path in self.at else None
        if rows is None:
            return None
        rows = [stretch(p, (B, *p.shape[-2:])) for p in rows]
        return rows, np.ones(rows[0].shape[:2], bool)

    def pseudo(self, B):
        """How many token ids V, V + 1, … it knows for the rows of a batch: a number, or (B, 1)."""
        return 0

    def serves(self, B):
        """An error if it is a bank of others than the rows of a batch."""
        if (n := self.users) not in (None, 1, B):
            raise ValueError(
                f"{self!r} is a bank of {n}, and this is a batch of {B}: γ.of(rows) reads row i "
                "as user rows[i]"
            )

    def outermost(self, path):
        """Does it stand behind the others of this layer in a Chain?"""
        return False

    def shift(self, layer, B):
        """(B,): how much later each row's text starts, for what stands before it at `layer`."""
        b = self.before(layer, B) if self.shift_positions else None
        return b[1].sum(1) if b else np.zeros(B, int)

    def counted(self, real):
        """Which of the rows (B, S) read so far a position counts."""
        return real

    def shown(self, real):
        """Which of the rows (B, S) a head stands on are real: the text's (B, T) are the last."""
        return real

    def now(self, rng=None):
        """This adaptation for one forward: what depends on γ alone is computed once."""
        self.attached()
        return but(self, rng=rng) if rng and self.dropout else self

    def fold(self):
        """γ with what `now` computes in place of what computes it: the same bits, no encoder."""
        return self.now().map(lambda p: trained(p.data.copy()))

    # -- what the rest of the library asks

    def attach(self, model, rng):
        """Lay parameters beside the layers that match `targets`.  Changes self, never the model."""
        at = {}
        for path, layer in self.places(model):
            try:
                at[path] = [placed(p, model) for p in self.start(layer, rng)]
            except AttributeError as error:
                if error.obj is not layer:  # no rng, say
                    raise
                raise self.misplaced(path, layer, model, error.name) from error
        return self.lay(at, model)

    def misplaced(self, path, layer, model, lacks):
        """Where there is a place, when there is none at this layer."""
        there = listed(p for p, other in model.modules() if hasattr(other, lacks))
        lacks = "weight matrix of its own" if lacks in ("W", "shape") else lacks
        return ValueError(
            f"{self!r} has no place at {path}, {type(layer).__name__}: that has no {lacks}; "
            f"there is one at {there or 'no layer'}"
        )

    def places(self, model):
        """[(path, layer)] of all that match `targets`."""
        return [(p, layer) for p, layer in model.modules() if matches("targets", self.targets, p)]

    def lay(self, at, model):
        if not at:
            paths = listed(path for path, _ in model.modules())
            raise ValueError(f"no layer matches {self.targets!r}; the model has {paths}")
        self.at, self.base, self.mark = at, model.config, model.mark()
        self.network = type(model)
        return self

    def fits(self, config):
        """An error if it was attached to a network of another configuration."""
        if self.base not in (None, config):
            raise ValueError(f"{self!r} is attached to {self.base}, but the model is {config}")

    def beside(self, model):
        """An error if its parameters are not where the model is."""
        p = next((p.data for _, p in self.named_parameters()), model.like)
        if backend.on_host(p) != backend.on_host(model.like):
            there, other = ("cpu", "cuda") if backend.on_host(p) else ("cuda", "cpu")
            raise ValueError(
                f"{self!r} is on {there!r}, but the model on {other!r}: .to({other!r})"
            )

    def attached(self):
        if self.at is None:
            name = type(self).__name__
            raise ValueError(
                f"{self!r} is attached to no model yet: {name}(...).attach(model, rng)"
            )
        return self.at

    def adapts(self, path):
        return path in self.at

    @property
    def shared(self):
        """Is it one and the same for every row of any batch?"""
        return self.rng is None and all(p.ndim == 2 for p in self.parameters())

    @property
    def users(self):
        """How many it holds the parameters of, if it is a bank; else None."""
        return next((len(p.data) for p in self.parameters() if p.ndim == 3), None)

    def merged(self, layer):
        """The tensors of `layer` that the adaptation changes, changed, by name."""
        return self.weights(layer, *self.added(layer)) if layer.path in self.at else {}

    def kind(self):
        """Equal for two that differ in nothing but the numbers in their parameters."""
        ps = self.parameters()
        which = {id(p): (i, p.shape) for i, p in enumerate(ps)}  # one that layers share is one
        at = [(path, *(which[id(p)] for p in added)) for path, added in self.at.items()]
        own = any(p.ndim == 3 for p in ps) and id(self)  # a bank is like no other
        return type(self), repr(self), tuple(at), own

    def named_parameters(self):
        """Yield ("path.name", tensor), with the names that the method's equation gives them."""
        for path, added in self.attached().items():
            for name, p in zip(self.names(path), added, strict=True):
                yield f"{path}.{name}", p

    def names(self, path):
        """What the parameters at `path` are called: as in the signature of `apply` or `past`."""
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
        """For these rows: what all share stays, what each row or user has is picked."""
        n = self.users
        if n and len(rows) and not 0 <= np.min(rows) <= np.max(rows) < n:
            raise ValueError(f"rows are from 0 to {n - 1}, of a bank of {n}; got {rows}")
        return self.map(lambda p: take(p, rows) if p.ndim == 3 else p)

    def user(self, i):
        """What a bank has for user i, alone."""
        return self.of([i]).map(lambda p: trained(p.data[0]) if p.ndim == 3 else p)

    def astype(self, dtype):
        return self.map(lambda p: trained(p.data.astype(dtype)))

    def to(self, device):
        """The same adaptation on "cpu" or "cuda", for a model that is there."""
        move = backend.to(device)
        return self.map(lambda p: trained(move(p.data)))


def listed(paths):
    """Their names, once for all blocks: blocks.N.attn.q; the whole network has none."""
    return ", ".join(dict.fromkeys(re.sub(r"\.\d+(?=\.|$)", ".N", path) for path in paths if path))


def trained(p):
    return Tensor(p, requires_grad=True)


def placed(p, model):
    """A parameter that starts as a copy of p, in the model's float and where the model is."""
    return trained(np.array(p, model.dtype, like=model.like))


class Plain(Adaptation):
    """None at all: `model(ids, PLAIN)` is `model(ids)`."""

    at = {}

    def __repr__(self):
        return "PLAIN"


PLAIN = Plain()


class As:
    """A layer as someone shows it: its names and tensors, but the answer of answer(layer, x)."""

    def __init__(self, layer, answer):
        self.layer, self.answer = layer, answer

    def __call__(self, x):
        return self.answer(self.layer, x)

    def __getattr__(self, name):
        return getattr(self.layer, name)


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
    adapt.fits(model.config)
    if adapt.users is not None:
        raise ValueError(f"{adapt!r} is a bank: merge what it has for one user, γ.user(i)")
    new, adapt = {}, adapt.now()
    for path, layer in model.modules():
        changed = adapt.merged(layer)
        for name, old in layer.tensors().items():
            t = changed.get(name, old)
            if t is not new.setdefault(id(old), t):
                raise ValueError(
                    f"{path}.{name} is shared with another layer, which is not changed in the same "
                    "way: merging would tear them apart; leave it out of `targets`"
                )
    return model.map(lambda t: Tensor(new[id(t)].data.reshape(t.shape).copy()))
