"""The laws that every operation obeys, and what the check of its gradient is worth."""

import inspect
import itertools
import weakref

import numpy as np
import pytest

from minipeft.autograd import functional, ops
from minipeft.autograd.tensor import Tensor, grad, op
from minipeft.methods import lstm
from tests.support.gradcheck import gradcheck
from tests.support.operations import LETTERS, TABLE, Example, every_row, law


def test_the_table_is_complete():
    there = [f for module in (ops, functional, lstm) for f in vars(module).values()]
    defined = {f for f in there if inspect.isfunction(f) and hasattr(f, "__wrapped__")}
    assert {row.op for row in TABLE} == defined


def slope(f, x, seed=0):
    """∇⟨u, f(x)⟩ for a random u"""
    x = Tensor(x, requires_grad=True)
    y = f(x)
    return grad(y, [x], [np.random.default_rng([seed, 2]).standard_normal(y.shape)])[0]


@law
def test_the_value_is_the_formula(row, example):
    y = row.formula(*example.xs, **example.options())
    np.testing.assert_allclose(example(*example.xs).data, y, rtol=1e-12, atol=1e-13, strict=True)


@law
def test_every_vjp_is_the_derivative(row, example):
    """All arrays are read-only, so this also says that nothing is written to."""
    gradcheck(example, *example.xs, analytic=row.analytic)


@law
def test_an_argument_is_kept_only_where_its_derivative_depends_on_it(row, example):
    for i, x in enumerate(example.xs):
        f = example.alone(i)
        here, there = slope(f, x), slope(f, row.domain(-2 * x))
        if here.any() and np.array_equal(here, there):
            x = Tensor(x.copy(), requires_grad=True)
            graph, data = f(x).node, weakref.ref(x.data)
            del x
            assert graph is not None and data() is None, f"argument {i} is kept for nothing"


def test_logits_are_not_kept_beside_their_exponentials():
    z = Tensor(np.zeros((2, 3, 5)), requires_grad=True)
    loss, data = functional.cross_entropy(z, np.zeros((2, 3), int), count=6), weakref.ref(z.data)
    del z
    assert loss.requires_grad and data() is None


@law
def test_float32_stays_float32(row, example):
    leaves = [Tensor(x.astype(np.float32), requires_grad=True) for x in example.xs]
    y = example(*leaves)
    gs = grad(y, leaves, [np.ones_like(y.data)])
    assert {y.dtype, *(g.dtype for g in gs)} == {np.dtype(np.float32)}


# -- the check, checked: what it says of derivatives that are wrong --------------


def without(x, k):
    """x but for one number, the one that k falls on."""
    at = np.arange(x.size).reshape(x.shape)
    return np.where(at == 7 * k % max(1, x.size), 0, x)


def swapped(g):
    """Two axes of the same length exchanged, if there are any."""
    for i, j in itertools.combinations(range(g.ndim), 2):
        if g.shape[i] == g.shape[j] > 1:
            return g.swapaxes(i, j)
    return g


MISTAKES = {
    "scaled": lambda dx, g, k: 1.001 * dx(g),
    "negated": lambda dx, g, k: -dx(g),
    "an entry forgotten": lambda dx, g, k: without(dx(g), k),
    "a term forgotten": lambda dx, g, k: dx(without(g, k)),
    "shifted": lambda dx, g, k: np.roll(dx(g), 1),
    "swapped": lambda dx, g, k: swapped(dx(g)),
}


def spoiled(f, mistake, k):
    """f of one argument, with a wrong derivative."""

    @op
    def wrong(x):
        leaf = Tensor(x, requires_grad=True)
        y = f(leaf)
        return y.data, lambda g: mistake(lambda u: grad(f(leaf), [leaf], [u])[0], g, k)

    return wrong


@every_row
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_rejects_a_wrong_derivative(row, mistake):
    """Of every argument, in every form, whenever it is wrong by more than a millionth."""
    for form in row.arguments.replace("*", "").split(" | "):
        for i in range(len(form.split())):
            caught = 0
            for seed in range(8):
                example = Example(row, form, dict.fromkeys(LETTERS, 3), seed)
                f, x = example.alone(i), example.xs[i]
                wrong = spoiled(f, MISTAKES[mistake], seed)
                if np.abs(slope(wrong, x, seed) - slope(f, x, seed)).max() > 1e-6:
                    with pytest.raises(AssertionError, match="it should be"):
                        gradcheck(wrong, x, analytic=row.analytic, seed=seed)
                    caught += 1
            assert caught or mistake == "swapped" and swapped(x) is x
