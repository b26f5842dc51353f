"""The laws that a method keeps on every network: each is one function, run over all methods.

A law yields (error, where) for a Case; the largest error may not exceed its tolerance.  It raises
NotApplicable, with the reason, for a method or a network that it does not apply to.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..adaptation.cache import Cache
from ..adaptation.each import Each
from ..adaptation.merge import merge
from ..adaptation.method import PLAIN, Method, stack
from ..autograd.backend import host
from ..autograd.tensor import Tensor
from ..methods import LoRA
from ..model.transformer import Decoder
from .cases import Case, T, V, apart, batch, gradients, real, row, total
from .finding import NotApplicable


@dataclass(frozen=True)
class Law:
    """A law: what it says, the error that it allows, and the generator of errors."""

    name: str
    says: str
    tolerance: float
    errors: Callable = field(repr=False)

    def worst(self, case: Case) -> tuple[float, str]:
        """Return the largest error, and where it is.

        Raises NotApplicable, and any error of the method.
        """
        return max(self.errors(case), key=severity)


def severity(found: tuple[float, str]) -> float:
    """Return the error of a pair (error, where), by which the worst is found: NaN is infinite."""
    return np.inf if np.isnan(found[0]) else found[0]


LAWS: list[Law] = []


def law(name: str, tolerance: float) -> Callable[[Callable], Law]:
    """Return a decorator that makes a Law of a generator; the docstring is what it says."""

    def decorate(errors):
        LAWS.append(Law(name, errors.__doc__, tolerance, errors))
        return LAWS[-1]

    return decorate


@law("shapes", 0.0)
def shapes(case):
    """parameters have two axes, and adapted outputs have the shape of the frozen ones"""
    γ = case.attached()
    for name, p in γ.named_parameters():
        yield float(p.ndim != 2), f"{name} has the shape {p.shape}"
    layers = dict(case.model.modules())
    for m in γ.resolve().leaves():
        for path in m.at.keys() & layers.keys():
            if isinstance(m.method.prepend(layers[path], **m.at[path]), Tensor):
                yield (
                    1.0,
                    f"prepend returns a tensor at {path}: return a list, [P], or two, k and v",
                )
                return
    ids, _, mask = batch(case.model, 3, γ)
    z, plain = case.model(ids, γ, mask=mask), case.model(abs(ids) % V, mask=mask)
    yield float(z.shape != plain.shape), f"outputs have the shape {z.shape}, not {plain.shape}"


@law("start", 0.0)
def start(case):
    """equal generators give equal parameters at the start"""
    first, again = (case.fresh(np.random.default_rng(3)) for _ in range(2))
    yield 0.0, ""
    for (name, p), (_, q) in zip(first.named_parameters(), again.named_parameters(), strict=True):
        same = np.array_equal(host(p.data), host(q.data))
        yield float(not same), f"{name} differs: draw it from rng"


@law("identity", 0.0)
def identity(case):
    """at the start, the outputs are those of the frozen model, where the paper promises it"""
    γ = case.fresh()
    ids, _, mask = batch(case.model, 5)
    z, plain = (host(case.model(ids, a, mask=mask).data) for a in (γ, None))
    far = np.abs(z - plain).max()
    if far and case.promised is None:
        raise NotApplicable(f"it starts with other outputs, by up to {far:.2g}")
    moved = {name.rpartition(".")[2]: 0 for name, p in γ.named_parameters() if p.data.any()}
    why = f"outputs change at the start; parameters that are not 0 there: {', '.join(moved)}"
    yield 0.0 if far <= (case.promised or 0.0) else far, why


@law("derivatives", 1e-8)
def derivatives(case):
    """gradients are the derivatives by complex steps, Im f(p + ih) / h"""
    γ, model = case.attached(), case.model
    ids, labels, mask = batch(model, 5, γ)
    ps, names = γ.parameters(), {id(p): name for name, p in γ.named_parameters()}
    gs, rng = gradients(model, ids, labels, γ, mask=mask), np.random.default_rng(0)
    vs = [v / np.linalg.norm(v) for v in (rng.normal(size=p.shape) for p in ps)]
    size = max(map(np.linalg.norm, gs), default=1) or 1

    def error(part):
        """Return how far the gradients along the directions of a part are from derivatives."""
        moved = [(ps[i], np.asarray(vs[i], like=ps[i].data)) for i in part]
        along = sum((gs[i] * vs[i]).sum() for i in part)
        return off(lambda: total(model, ids, labels, γ, mask=mask).data, moved, along) / size

    together = error(range(len(ps)))
    if together <= 1e-8:
        yield together, "the gradients"
        return
    for i, p in enumerate(ps):
        yield error([i]), f"the gradient of {names[id(p)]}"


def off(f: Callable, moved: list, along: float) -> float:
    """Return how far `along` is from df/dt at p + t v for all (p, v) of `moved`.

    Where complex numbers pass through f, this is exact: central differences confirm it.  Else, as
    for |p|, it is from differences.  These may cross a kink, as of relu: nearer ones then do not.
    """
    starts, close = [p.data for p, _ in moved], 1e-6 * (1 + abs(along))

    def at(t):
        for (p, v), x in zip(moved, starts):
            p.data = x + t * v
        return f().item()

    def difference(h):
        near, far = ((at(h) - at(-h)) / (2 * h) for h in (h, 2 * h))
        return (4 * near - far) / 3  # Richardson 1911

    def complex_step(h=1e-30):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # an imaginary part that is dropped
                return at(1j * h).imag / h
        except (TypeError, ValueError, Warning):
            return np.inf  # complex numbers do not pass

    try:
        for h in (1e-4, 1e-5, 1e-6, 1e-7):
            if (near := abs(difference(h) - along)) <= close:
                break
        exact = abs(complex_step() - along)
    finally:
        for (p, _), x in zip(moved, starts):
            p.data = x
    return min(exact, near) if near <= close else near


@law("gradient", 0.0)
def gradient(case):
    """every parameter gets a gradient"""

    def without(γ):
        """Return the names of the parameters whose gradient is 0."""
        ids, labels, mask = batch(case.model, 5, γ)
        gs, names = gradients(case.model, ids, labels, γ, mask=mask), dict(γ.named_parameters())
        zero = {id(p) for p, g in zip(γ.parameters(), gs) if not g.any()}
        return {name for name, p in names.items() if id(p) in zero}

    yield 0.0, ""
    users = (case.attached(user) for user in range(4))  # in one, all units of a relu may be 0
    for name in sorted(set.intersection(*map(without, users))):
        p = name.rpartition(".")[2]
        yield 1.0, f"{name} has none: outputs do not depend on it, or only on {p}.data, not {p}"


def from_alone(model, mix) -> tuple[float, float]:
    """Return how far a padded batch is from its rows alone, unpadded: logits, gradients."""
    ids, labels, mask = batch(model, len(mix.parts), mix)
    z, ps = model(ids, mix, mask=mask), mix.parameters()
    together = dict(zip(map(id, ps), gradients(model, ids, labels, mix, mask=mask)))
    alone, logits, grads = dict.fromkeys(together, 0), [], []
    for i, m in enumerate(mix.parts):
        text, label = row(i, ids, labels, mask=mask)
        logits.append(np.abs(real(z, i, mask=mask) - host(model(text, m).data)[0]).max())
        for p, g in zip(m.parameters(), gradients(model, text, label, m)):
            alone[id(p)] = alone[id(p)] + g
    for m in mix.parts:
        own = [id(p) for p in m.parameters()]
        grads.append(apart([together[p] for p in own], [alone[p] for p in own]))
    return np.max(logits), np.max(grads)


@law("padding", 1e-11)
def padding(case):
    """a text in a padded batch gets the logits that it gets alone"""
    γ, model = case.attached(), case.model
    ids, labels, mask = batch(model, 5, γ)
    z = model(ids, γ, mask=mask)
    for i in range(5):
        alone = host(model(row(i, ids, labels, mask)[0], γ).data)[0]
        gaps = ", ".join(map(str, np.flatnonzero(~mask[i]))) or "none"
        yield np.abs(real(z, i, mask) - alone).max(), f"text {i}, with padding at {gaps}"


@law("mixed", 1e-11)
def mixed(case):
    """beside other methods in a batch, a text gets the logits and gradients that it gets alone"""
    ann, bob = case.attached(0), case.attached(1)
    lora = Case(LoRA(rank=2), case.model).attached()
    logits, grads = from_alone(case.model, Each(ann, lora, bob, None, ann))
    yield logits, "logits"
    yield grads, "gradients"


@law("users", 1e-11)
def users(case):
    """in a batch of users, `stack(users).of(rows)`, a text gets what it gets with its user alone"""
    model, each, who = case.model, [case.attached(user) for user in range(3)], np.array([2, 0, 0])
    bank = stack(each)
    ids, labels, mask = batch(model, len(who), each[0])
    z = model(ids, bank.of(who), mask=mask)
    sums = [[np.zeros(p.shape) for p in m.parameters()] for m in each]
    for i, user in enumerate(who):
        text, label = row(i, ids, labels, mask=mask)
        alone = model(text, each[user])
        yield np.abs(real(z, i, mask=mask) - host(alone.data)[0]).max(), f"logits of row {i}"
        for s, g in zip(sums[user], gradients(model, text, label, each[user])):
            s += g
    together = gradients(model, ids, labels, bank.of(who), mask=mask, of=bank)
    for user in range(3):
        own = [g[user] for g in together]
        yield (
            apart(own, sums[user]) if user != 1 else float(any(g.any() for g in own)),
            (f"gradients of user {user}"),
        )


@law("cached", 1e-11)
def cached(case):
    """a text that is read in parts, with a cache and beams, gets the logits of the whole"""
    model, γ, rng = case.model, case.attached(), np.random.default_rng(0)
    if not isinstance(model, Decoder):
        raise NotApplicable("only a decoder has a cache")
    ids, _, mask = batch(model, B := case.rows, γ)
    whole = host(model(ids, γ, mask=mask).data)
    for parts in (rng.integers(1, 3), rng.integers(3, 5)):
        cache, beams, begin = Cache(γ), np.arange(B), 0
        for end in [*sorted(rng.choice(np.arange(1, T), parts - 1, replace=False)), T]:
            own = mask[beams, begin:end]
            z = host(model(ids[beams, begin:end], mask=own, cache=cache).data)
            far = np.abs((z - whole[beams, begin:end])[own]).max(initial=0)
            yield far, f"tokens {begin} to {end - 1}"
            order = rng.integers(0, len(beams), rng.integers(1, B + 1))
            cache, beams, begin = cache.of(order), beams[order], end


@law("merged", 1e-11)
def merged(case):
    """merged into the weights, it gives the logits that it gives beside the model"""
    model, γ = case.model, case.attached()
    if type(case.method).weights is Method.weights:
        raise NotApplicable("it has no `weights`, so it is not merged")
    ids, _, mask = batch(model, 5, γ)
    try:
        z = merge(model, γ)(ids, mask=mask)
    except ValueError as error:
        if "is shared with another layer" in str(error):
            raise NotApplicable(str(error)) from None
        raise
    far = np.abs(host(z.data - model(ids, γ, mask=mask).data)).max()
    yield far, f"merged and unmerged logits differ{missing(case)}"


def missing(case) -> str:
    """Return which frozen weights a merge seems to leave out: those that are 0 at the start."""
    layers = dict(case.model.modules())
    for m in case.fresh().resolve().leaves():
        for path in m.at.keys() & layers.keys():
            for name, w in m.method.weights(layers[path], **m.at[path]).items():
                if not host(w.data).any():
                    return f"; at the start, {name} of `weights` is 0: add that of the layer"
    return ""


@law("frozen", 0.0)
def frozen(case):
    """after two steps, the base has the same bits, and so have its outputs"""
    model = case.model
    bits = lambda: [host(t.data).tobytes() for t in model.parameters()]
    text = batch(model, 5)
    before, z = bits(), host(model(text[0], mask=text[2]).data)
    γ = case.fresh()
    ids, labels, mask = batch(model, 5, γ)
    for _ in range(2):
        for p, g in zip(γ.parameters(), gradients(model, ids, labels, γ, mask=mask)):
            p.data -= 0.1 * np.asarray(g, like=p.data)
    yield float(bits() != before), "a weight of the base has changed"
    same = np.array_equal(host(model(text[0], mask=text[2]).data), z)
    yield float(not same), "an output of the frozen model has changed"


@law("float32", 0.0)
def float32(case):
    """with a model of float32, parameters, outputs and gradients are float32"""
    case = case.astype(np.float32)
    model, γ = case.model, case.attached()
    for name, p in γ.named_parameters():
        yield float(p.dtype != np.float32), f"{name} is {p.dtype}"
    for a in (γ, Each(γ, PLAIN, γ, None, γ)):
        ids, labels, mask = batch(model, 5, a)
        z = model(ids, a, mask=mask, rng=np.random.default_rng(0))
        yield float(z.dtype != np.float32), f"outputs are {z.dtype}"
        loss = total(model, ids, labels, a, mask=mask)
        yield float(loss.dtype != np.float32), f"the loss is {loss.dtype}"
        for g in gradients(model, ids, labels, a, mask=mask):
            yield float(g.dtype != np.float32), f"a gradient is {g.dtype}"
