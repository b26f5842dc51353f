"""The laws that every method keeps on every network, each as one test; and tests of the testers."""

from functools import cache
from itertools import combinations

import numpy as np
import pytest

import minipeft as mp
from minipeft import PLAIN, Chain, Each, Method, Tensor, stack
from minipeft.adaptation.chain import MethodChain
from minipeft.autograd.backend import host
from minipeft.autograd.nn import replace
from minipeft.autograd.tensor import op
from minipeft.checking import cases, laws
from minipeft.checking.laws import from_alone
from tests.support.families import (
    METHODS,
    ON_HOST,
    Case,
    Doubled,
    Family,
    Leaky,
    V,
    apart,
    attached,
    batch,
    decoders,
    distinct_networks,
    gradients,
    heads_too,
    methods,
    mixture,
    networks,
    real,
    row,
)


def test_the_laws_are_of_every_method():
    kinds = [type(part) for make in METHODS.values() for part in made_of(make())]
    assert set(mp.METHODS.values()) - {mp.Probe} <= set(kinds)  # a probe stands under each head


def made_of(adaptation):
    if isinstance(adaptation, MethodChain):
        return [q for p in adaptation.methods for q in made_of(p)]
    return (
        [q for p in adaptation.parts for q in made_of(p)]
        if isinstance(adaptation, Chain)
        else [adaptation]
    )


def assert_holds(law, case):
    error, where = law.worst(case)
    assert error <= law.tolerance, where


# what a reader's own method runs through: minipeft check
@pytest.mark.parametrize("name", [name for name in METHODS if name != "plain"])
@pytest.mark.parametrize("model", cases.networks().values(), ids=cases.networks())
@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.name)
def test_every_law_holds_for_every_method(law, model, name):
    try:
        assert_holds(law, Case(METHODS[name](), model))
    except laws.NotApplicable as reason:
        assert law.name in ("identity", "cached", "merged") and str(reason)


# -- one batch, many adaptations ----------------------------------------------


@heads_too
def test_a_row_of_a_mixture_is_as_if_alone(model):
    logits, grads = from_alone(model, mixture(model, users=2))
    assert logits <= 1e-12 and grads <= 1e-11


@networks
def test_a_mixture_holds_users_of_a_bank_repeats_and_strangers(model):
    users = stack([attached("lora", model, user) for user in range(3)])
    twice = attached("encoded prefix", model)
    ann, bob = (users.of([i]).astype(np.float64) for i in (0, 2))
    odd, even = Doubled().attach(model), Doubled().attach(model)
    mix = Each(ann, None, bob, twice, odd, PLAIN, twice, even, ann)
    logits, grads = from_alone(model, mix)
    assert logits <= 1e-12 and grads <= 1e-11


@networks
def test_a_mixture_stands_on_what_all_its_rows_share(model):
    shared = attached("lora", model)
    mix = Each([attached(m, model) for m in METHODS if m not in ("dora", "random weights")])
    ids, labels, mask = batch(model, len(mix.parts), mix)
    on_top, sums = Chain(shared, mix), 0
    z = model(ids, on_top, mask=mask)
    for i, m in enumerate(mix.parts):
        text, label = row(i, ids, labels, mask=mask)
        own = Chain(shared, m)
        assert np.abs(real(z, i, mask=mask) - host(model(text, own).data)[0]).max() <= 1e-12
        sums = sums + np.array(gradients(model, text, label, own, of=shared), object)
    assert apart(gradients(model, ids, labels, on_top, mask=mask, of=shared), list(sums)) <= 1e-11


@heads_too
def test_rows_of_a_mixture_are_a_mixture_of_the_rows(model):
    mix = mixture(model)
    ids, _, mask = batch(model, len(METHODS), mix)
    z = model(ids, mix, mask=mask)
    for rows in (np.array([4, 0, 7]), np.arange(5, len(METHODS)), np.array([3])):
        y = model(ids[rows], mix.of(rows), mask=mask[rows])
        for j, i in enumerate(rows):
            assert np.abs(real(y, j, mask[rows]) - real(z, i, mask=mask)).max() <= 1e-12


@cache
def undisturbed(model):
    """A mixture, its batch, and what comes of every row: logits and gradients."""
    mix = mixture(model)
    text = batch(model, len(METHODS), mix)
    return mix, text, rows_of(model, mix, *text)


def rows_of(model, mix, ids, labels, mask):
    z, gs = model(ids, mix, mask=mask), iter(gradients(model, ids, labels, mix, mask=mask))
    return [
        [real(z, i, mask=mask), *[next(gs) for _ in m.parameters()]]
        for i, m in enumerate(mix.parts)
    ]


# four of eight numbers for each row: of two rows, each has a number that the other has not
DISTURBED_IN = [*combinations(range(8), 4)]


@networks
@pytest.mark.parametrize("time", range(8))
def test_no_row_reaches_another(model, time):
    """Not even with other words, or with parameters that are not a number: the same bits.

    Of any two rows, each is disturbed at a time when the other is not.
    """
    mix, (ids, labels, mask), before = undisturbed(model)
    disturbed = [i for i in range(len(METHODS)) if time in DISTURBED_IN[i]]
    ids, known = ids.copy(), ids >= 0
    ids[disturbed] = np.where(known, (ids + 1) % V, ids)[disturbed]
    nan = {
        id(p): Tensor(np.full_like(p.data, np.nan), True)
        for i in disturbed
        for p in mix.parts[i].parameters()
    }
    wrong = mix.replace_parameters({id(p): nan.get(id(p), p) for p in mix.parameters()})
    with np.errstate(invalid="ignore"):
        after = rows_of(model, wrong, ids, labels, mask=mask)
    for i, (was, now) in enumerate(zip(before, after, strict=True)):
        assert same(was, now) == (i not in disturbed)
        assert i not in disturbed or np.isnan(now[0]).any() or not mix.parts[i].parameters()


def same(xs, ys):
    """The same bits?"""
    return all(map(np.array_equal, xs, ys))


@networks
@methods
def test_a_bank_is_its_users_alone(model, name):
    assert_holds(laws.users, Family(name, model))


@distinct_networks
@methods
def test_a_user_may_come_again(model, name):
    """One kind alone, and not in the order of the users."""
    ann, bob = (attached(name, model, user) for user in (0, 1))
    logits, grads = from_alone(model, Each(ann, bob, bob, ann))
    assert logits <= 1e-12 and grads <= 1e-11


@decoders
def test_users_whose_layers_share_otherwise_are_of_two_kinds(model):
    ann, bob = (attached("ia3", model, user) for user in (0, 1))
    for user, part in ((ann, "k"), (bob, "v")):  # as many parameters, but at other layers
        user.at[f"blocks.1.attn.{part}"] = user.at[f"blocks.0.attn.{part}"]
    logits, grads = from_alone(model, Each(ann, bob))
    assert logits <= 1e-12 and grads <= 1e-11


# -- a cache ------------------------------------------------------------------


@decoders
@pytest.mark.parametrize("name", [*METHODS, "mixture"])
def test_reading_in_parts_and_by_beams_is_reading_whole(model, name):
    case = Family("plain" if name == "mixture" else name, model)
    if name == "mixture":
        case.attached, case.rows = lambda: mixture(model), len(METHODS)
    assert_holds(laws.cached, case)


class Counting:
    """A method that counts the calls of `prepend` at each layer."""

    def __init__(self, method):
        self.method, self.calls = method, []

    def prepend(self, layer, **parameters):
        self.calls.append(layer.path)
        return self.method.prepend(layer, **parameters)

    def __getattr__(self, name):
        return getattr(self.method, name)


@distinct_networks
@methods
@pytest.mark.parametrize("B", [1, 3])
def test_virtual_tokens_are_asked_for_once_at_each_layer(model, name, B):
    """In a forward pass, a loss, and a pass whose prompt all rows share."""
    adaptation = attached(name, model)
    ids, labels, mask = batch(model, B, adaptation)
    counting = [Counting(m.method) for m in adaptation.resolve().leaves()]
    parts = zip(adaptation.resolve().leaves(), counting)
    γ = Chain(*[replace(m, method=method) for m, method in parts])
    for run in (
        lambda: model(ids, γ, mask=mask),
        lambda: model.loss(ids, labels, γ, mask=mask),
        lambda: model.loss(ids, labels, γ, mask=mask, rng=np.random.default_rng(0)),
    ):
        run()
        for method in counting:
            assert len(method.calls) == len(set(method.calls))
            method.calls.clear()


# -- the base, and numbers ----------------------------------------------------


@networks
@methods
def test_training_leaves_the_base_as_it_was(model, name):
    assert_holds(laws.frozen, Family(name, model))


@pytest.mark.parametrize("model", ON_HOST.values(), ids=ON_HOST)
def test_nobody_writes_to_a_base(model):
    for t in model.parameters():
        with pytest.raises(ValueError, match="read-only"):
            t.data += 1


@networks
@methods
def test_the_model_says_which_float(model, name):
    """With float32; other laws notice numbers of float32 in a model of float64."""
    assert_holds(laws.float32, Family(name, model))


@networks
@methods
def test_astype_changes_the_float_and_nothing_else(model, name):
    adaptation = attached(name, model)
    ids, _, mask = batch(model, 5, adaptation)
    half = adaptation.astype(np.float32)
    assert all(p.dtype == np.float32 for p in half.parameters())
    assert all(p.dtype == np.float64 for p in adaptation.parameters())
    z, y = (
        model(ids, adaptation, mask=mask).data,
        model.astype(np.float32)(ids, half, mask=mask).data,
    )
    assert np.abs(z - y).max() <= 1e-4


@distinct_networks
@methods
def test_gradients_are_derivatives(model, name):
    assert_holds(laws.derivatives, Family(name, model))


@distinct_networks
@methods
def test_what_is_trained_is_what_stands_at_a_layer(model, name):
    adaptation = attached(name, model)
    laid = {
        id(p) for part in made_of(adaptation) for added in part.at.values() for p in added.values()
    }
    names = [name for name, _ in adaptation.named_parameters()]
    assert {id(p) for p in adaptation.parameters()} == laid and len(adaptation.parameters()) == len(
        laid
    )
    assert len(names) == len(set(names)) and not laid & {id(t) for t in model.parameters()}


# -- the testers, tested ------------------------------------------------------


class Wrong(Method):
    """A wrong derivative: forgot that p is there only once."""

    times = staticmethod(op(lambda x, p: (x * p, lambda g: g * p, lambda g: 2 * g * x)))

    def apply(self, layer, x, p):
        return self.times(layer(x), p)


@networks
def test_a_leak_is_noticed(model):
    leaky = Leaky().attach(model)
    assert from_alone(model, Each(leaky, leaky))[0] > 0.01


@networks
def test_a_wrong_derivative_is_noticed(model):
    p = np.full_like(model.reference_array, 0.7, shape=(1, model.config.width))
    path = next(path for path, _ in model.modules() if path.endswith("blocks.0.mlp.down"))
    case = Case(Method(), model)
    case.attached = lambda: Wrong().bind({path: {"p": Tensor(p, True)}}, model)
    error, where = laws.derivatives.worst(case)
    assert error > 0.01 and where == f"the gradient of {path}.p"
