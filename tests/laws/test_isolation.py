"""Batches of strangers: what becomes of some reaches no other row, to the last bit."""

from functools import cache

import numpy as np
import pytest

from minipeft import Chain, Each, Method, Tensor, grad, stack
from minipeft.autograd.backend import host
from minipeft.autograd.ops import sum as sum_over
from minipeft.autograd.ops import take
from minipeft.autograd.tensor import op
from tests.support.families import CLASSIFIERS, DECODERS, METHODS, Leaky, V, attached, batch, real

B, USERS = 5, 3  # rows of a batch; users of each method
MODELS = {"gpt2": DECODERS["gpt2"], "mean": CLASSIFIERS["mean"]}
MIXED, BANKS = 40, 60  # batches on each model
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@cache
def users(name, model):
    return [attached(name, model, who) for who in range(USERS)]


@cache
def bank(name, model):
    return stack(users(name, model))


def learned(model, adaptation, ps, ids, labels, mask):
    """What each row says, and the gradients of all losses for the parameters ps."""
    with np.errstate(all="ignore"):
        z = model(ids, adaptation, mask=mask)
        loss = model.loss(ids, labels, adaptation, mask=mask, count=1)
        grads = grad(loss, ps) if ps else []
    return [real(z, i, mask=mask) for i in range(B)], [host(g) for g in grads]


def spoilt(x, rng):
    """Other numbers in some places or in all: of any size, infinite, or none."""
    bad = rng.choice([np.nan, np.inf, -np.inf, rng.normal(), 1e200])
    return np.where(rng.random(x.shape) < rng.choice([0.1, 1.0]), bad, x)


def reworded(ids, labels, rows, rng):
    """Other words and labels in these rows; where pseudo-tokens stand stays."""
    ids, labels = ids.copy(), labels.copy()
    ids[rows] = np.where(ids[rows] >= 0, rng.integers(0, V, ids[rows].shape), ids[rows])
    labels[rows] = np.where(labels[rows] < 0, labels[rows], rng.integers(0, 3, labels[rows].shape))
    return ids, labels


def reached(before, after, kept):
    """How many of the rows that were left alone say something else, to the last bit."""
    return sum(before[i].tobytes() != after[i].tobytes() for i in kept)


def of_a_mixture(model, rng, over=lambda mix: mix):
    """Change some users of a random mixture: how many others that reaches, and how many it must."""
    names, who = rng.choice([*METHODS], B), rng.integers(0, USERS, B)
    mix = Each([users(name, model)[i] for name, i in zip(names, who)])
    unlucky = {id(mix.parts[i]) for i in [rng.integers(B), *np.flatnonzero(rng.random(B) < 0.3)]}
    rows = [i for i, m in enumerate(mix.parts) if id(m) in unlucky]
    kept = [i for i in range(B) if i not in rows]
    own = [p for i in kept for p in mix.parts[i].parameters()]
    ids, labels, mask = batch(model, B, mix, seed=rng.integers(2**32))
    z, gs = learned(model, over(mix), own, ids, labels, mask=mask)

    new = {id(p): p for p in mix.parameters()}
    for p in (p for i in rows for p in mix.parts[i].parameters()):
        new[id(p)] = Tensor(spoilt(host(p.data), rng), True)
    ids, labels = reworded(ids, labels, rows, rng)
    y, hs = learned(model, over(mix.replace_parameters(new)), own, ids, labels, mask=mask)
    return reached(z, y, kept) + reached(gs, hs, range(len(gs))), reached(z, y, rows)


def of_a_bank(model, rng, pick=take, over=lambda mix: mix):
    """The same of one user of a bank; and whoever is absent must have no gradient at all."""
    all, who = bank(rng.choice([*METHODS]), model), rng.integers(0, USERS, B)
    bad = rng.choice(who)
    rows, kept = np.flatnonzero(who == bad), np.flatnonzero(who != bad)
    served = lambda bank: over(bank.map(lambda p: pick(p, who)))
    ids, labels, mask = batch(model, B, all, seed=rng.integers(2**32))
    z, gs = learned(model, served(all), all.parameters(), ids, labels, mask=mask)

    def unlucky(p):
        x = host(p.data).copy()
        x[bad] = spoilt(x[bad], rng)
        return Tensor(x, True)

    other = all.map(unlucky)
    ids, labels = reworded(ids, labels, rows, rng)
    y, hs = learned(model, served(other), other.parameters(), ids, labels, mask=mask)
    absent = [user for user in range(USERS) if user not in who]
    wrong = sum(np.any(g[absent] != 0) for g in [*gs, *hs])
    for user in {*who} - {bad}:
        wrong += reached([g[user] for g in gs], [h[user] for h in hs], range(len(gs)))
    return wrong + reached(z, y, kept), reached(z, y, rows)


def wrong(model, batches, of, **leak):
    """Over so many random batches: how many others were reached; those who changed must differ."""
    rng = np.random.default_rng(0)
    others, own = np.sum([of(model, rng, **leak) for _ in range(batches)], axis=0)
    assert own > batches  # or nothing was put to the test
    return others


@models
def test_neighbours_in_a_mixture_never_meet(model):
    assert wrong(model, MIXED, of_a_mixture) == 0


@models
def test_neighbours_in_a_bank_never_meet(model):
    assert wrong(model, BANKS, of_a_bank) == 0


# -- the testers, tested ------------------------------------------------------


class LeaksBack(Method):
    """Says what it should, but hands on its neighbours' gradients as well."""

    targets = r"^blocks\.0\.attn\.q$"
    through = staticmethod(op(lambda x: (x, lambda g: g + 1e-6 * g.sum(0))))

    def apply(self, layer, x):
        return self.through(layer(x))


def beside_all(p, rows):
    """Who is absent has a share in every row."""
    return take(p, rows) + 1e-9 * sum_over(p, axis=0)


@models
@pytest.mark.parametrize("of", [of_a_mixture, of_a_bank])
@pytest.mark.parametrize("leak", [Leaky, LeaksBack])
def test_a_leaking_layer_is_noticed(model, of, leak):
    assert wrong(model, 10, of, over=lambda mix: Chain(mix, leak().attach(model))) > 0


@models
def test_a_bank_whose_users_touch_is_noticed(model):
    assert wrong(model, 10, of_a_bank, pick=beside_all) > 0
