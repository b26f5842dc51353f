"""The laws of differentiation: what is recorded, what is freed, what is written, and where."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from minipeft.autograd import functional, ops
from minipeft.autograd.tensor import Tensor, grad, no_grad, op, unbroadcast
from tests.support.gradcheck import gradcheck

rng = np.random.default_rng(0)


def leaf(*shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def frozen(*shape):
    return Tensor(rng.standard_normal(shape))


def same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14, strict=True)


@op
def watch(x, back):
    """x; back() is called when its gradient comes."""
    return x, lambda g: (back(), g)[1]


# -- what is recorded, and how long it lives ---------------------------------------


def test_frozen_inputs_record_nothing():
    assert frozen(3).node is None
    assert (frozen(3) * frozen(3) + 1.0).node is None
    with no_grad():
        assert (leaf(3) * leaf(3)).node is None
    assert len((leaf(3) * frozen(3)).node.edges) == 1


@pytest.mark.parametrize(
    "layer",
    [
        lambda x: x @ frozen(4, 4),
        lambda x: functional.linear(x, frozen(4, 4), frozen(4)),
        lambda x: x * frozen(4) + frozen(4),
        lambda x: functional.join_heads(functional.split_heads(x, 1, 2)),
        lambda x: ops.reshape(x, (3, 2, 4)),
        lambda x: ops.concat(x, frozen(2, 1, 4), axis=1),
    ],
)
def test_an_activation_that_only_meets_frozen_weights_dies(layer):
    h = leaf(2, 3, 4) * 2.0
    data = weakref.ref(h.data)
    y = ops.sum(layer(h))
    del h
    assert data() is None and y.requires_grad


def test_an_activation_that_meets_a_trained_weight_lives_until_its_gradient():
    h = leaf(2, 4) * 2.0
    data, y = weakref.ref(h.data), h @ leaf(4, 4)
    del h
    assert data() is not None
    grad(y, [], [np.ones((2, 4))])
    assert data() is None


def test_the_graph_is_freed_on_the_way():
    """By the time that the gradient is back at x, nothing stands any more."""
    activations, alive = [], []
    h = watch(leaf(3), lambda: alive.extend(r() is not None for r in activations))
    for _ in range(10):
        h = ops.tanh(h)
        activations.append(weakref.ref(h.data))
    y = ops.sum(h)
    del h
    grad(y, [])
    assert alive == [False] * 10


def test_a_graph_used_twice_says_so():
    h = leaf(1) * 2.0
    y, z = h * 3.0, h * 4.0
    y.backward()
    for t in y, z:
        with pytest.raises(RuntimeError, match="run the forward pass again"):
            t.backward()


def test_twenty_thousand_operations_differentiate():
    x = y = leaf(2)
    for _ in range(20_000):
        y = y * 1.0
    same(grad(y, [x], [np.ones(2)]), [np.ones(2)])


def test_a_long_graph_can_be_forgotten():
    y = ops.tanh(leaf(2))
    oldest = weakref.ref(y.data)
    for _ in range(100_000):
        y = y + 1.0
    assert oldest() is not None
    del y
    assert oldest() is None


def test_every_node_is_passed_once():
    """2⁴⁰ paths, but 40 nodes"""
    x, walked = leaf(1), []
    y = x
    for _ in range(40):
        y = watch(y + y, lambda: walked.append(1))
    same(grad(y, [x]), [np.array([2.0**40])])
    assert len(walked) == 40


# -- what is written, and where ----------------------------------------------------


def test_grad_writes_nowhere():
    a, b = leaf(3), leaf(3)
    before, h = a.data.copy(), a * b
    same(grad(ops.sum(h * a), [a, b]), [2 * a.data * b.data, a.data**2])
    assert a.grad is b.grad is h.grad is None
    same([a.data], [before])


def test_backward_adds_to_the_leaves_alone():
    a, b = leaf(3), leaf(3)
    h = a * b
    h.backward(np.ones(3))
    first = a.grad
    same([first], [b.data])
    ops.sum(a * 2.0).backward()
    same([a.grad, b.grad, first], [b.data + 2, a.data, b.data])
    assert h.grad is None


def test_a_leaf_that_is_gone_is_passed_over():
    a, b = leaf(3), leaf(3)
    y, wanted, gone = a * b, b.data, weakref.ref(b)
    del b
    assert gone() is None
    y.backward(np.ones(3))
    same([a.grad], [wanted])


def test_threads_differentiate_the_same_parameters_at_once():
    W, b, xs = leaf(4, 4), leaf(4), [frozen(3, 4), frozen(3, 4)]
    meet = threading.Barrier(2, timeout=10)

    def work(x, wait=meet.wait):
        for _ in range(5):
            x = watch(ops.tanh(functional.linear(x, W, b)), wait)
        return grad(x, [W, b], [np.ones((3, 4))])

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(work, xs))
    for x, found in zip(xs, together):
        same(found, work(x, wait=lambda: None))
    assert W.grad is b.grad is None


def test_no_grad_is_one_threads_own():
    x, meet = leaf(3), threading.Barrier(2, timeout=10)

    def forgetful():
        with no_grad():
            meet.wait()  # the other computes now
            forgotten = x * 2.0
            meet.wait()
        return forgotten, x * 2.0

    def mindful():
        meet.wait()
        y = x * 2.0
        meet.wait()
        return y

    with ThreadPoolExecutor(2) as pool:
        (forgotten, after), y = (f.result() for f in [pool.submit(forgetful), pool.submit(mindful)])
    assert (forgotten.requires_grad, after.requires_grad, y.requires_grad) == (False, True, True)


def test_no_grad_ends_with_an_error_too():
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (leaf(3) * 2.0).requires_grad


# -- what may be asked --------------------------------------------------------------


def test_what_nothing_depends_on_gets_zeros():
    a, b = leaf(3), leaf(2, 2)
    same(grad(ops.sum(a * 2.0), [a, b]), [np.full(3, 2.0), np.zeros((2, 2))])


def test_a_frozen_tensor_has_no_gradient():
    a, b = leaf(3), frozen(3)
    with pytest.raises(ValueError, match="requires_grad=True"):
        grad(a * b, [a, b])


@pytest.mark.parametrize("ask", [lambda y: grad(y, []), Tensor.backward])
def test_nothing_trained_is_an_error(ask):
    with pytest.raises(RuntimeError, match="no input of this graph requires a gradient"):
        ask(frozen(3) * 2.0)


@pytest.mark.parametrize("ask", [lambda y: grad(y, []), Tensor.backward])
def test_a_tensor_that_is_no_scalar_needs_its_gradient(ask):
    with pytest.raises(ValueError, match=r"shape \(2, 3\) is not a scalar"):
        ask(leaf(2, 3) * 2.0)


def test_the_gradient_of_a_tensor_that_is_no_scalar():
    a, g = leaf(2, 3), rng.standard_normal((2, 3))
    (a * 2.0).backward(g)
    same([a.grad], [2 * g])
    with pytest.raises(ValueError, match=r"gradient of shape \(3,\) was given for"):
        (a * 2.0).backward(g[0])


def test_an_operation_needs_a_vjp_for_each_trained_argument():
    """One that forgets a vjp would give no gradient, and say nothing."""
    forgetful = op(lambda a, b: (a * b, lambda g: g * b))
    assert forgetful(leaf(3), frozen(3)).requires_grad
    with pytest.raises(TypeError, match="1 vjps for 2 arguments"):
        forgetful(frozen(3), leaf(3))
    with no_grad():
        assert not forgetful(frozen(3), leaf(3)).requires_grad


def test_several_roots_with_their_seeds():
    """One root may stand behind another, be frozen, or be a leaf."""
    a, W = leaf(4), frozen(4, 4)
    u, v, w = rng.standard_normal((3, 4))
    h = a * a
    (da,) = grad([h, h @ W, a, frozen(4)], [a], [u, v, w, w])
    same([da], [(u + W.data @ v) * 2 * a.data + w])


def test_the_gradient_of_what_lies_between():
    a = leaf(3)
    h = ops.exp(a)
    same(grad(ops.sum(h * h), [h, a]), [2 * h.data, 2 * h.data**2])


def test_a_loss_is_a_number():
    x = Tensor(np.float32([[1, 2]]))
    assert float(ops.sum(x)) == 3.0 and isinstance(float(ops.sum(x)), float)


# -- sums ---------------------------------------------------------------------------


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3), st.data())
def test_unbroadcast_is_the_adjoint_of_broadcasting(shape, data):
    """⟨unbroadcast(g), x⟩ = ⟨g, broadcast(x)⟩: in whole numbers, so to the last bit"""
    small = [1 if data.draw(st.booleans()) else n for n in shape]
    small = tuple(small[data.draw(st.integers(0, len(shape))) :])
    g = rng.integers(-9, 9, shape)
    for x in (rng.integers(-9, 9, small) for _ in range(4)):
        assert unbroadcast(g, small).shape == small
        assert (unbroadcast(g, small) * x).sum() == (g * np.broadcast_to(x, shape)).sum()


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + a,
        lambda a, b: a * a,
        lambda a, b: a - a * a / (a * a + 1.0),
        lambda a, b: a + ops.tanh(a) + functional.gelu(a + ops.tanh(a)),  # residuals
        lambda a, b: (a + b) + a * b,  # one g to two parents, then more to each
        lambda a, b: (a + b) * (a + b) + (b + a),
        lambda a, b: ops.concat(a, b, a, axis=0) * ops.reshape(ops.stack(a, b, b), (6, 3)),
        lambda a, b: ops.sum(a) + a + ops.sum(a + b) * b,
    ],
)
def test_gradients_that_meet_are_added(f):
    gradcheck(f, *rng.standard_normal((2, 2, 3)))


def test_gradients_that_are_one_array_are_not_written_to():
    """a + b gives both the g that it got, and more arrives at a."""
    a, b, g = leaf(3), leaf(3), np.ones(3)
    g.flags.writeable = False
    same(grad([a + b, a * 2.0], [a, b], [g, g]), [np.full(3, 3.0), np.ones(3)])


# -- operators ----------------------------------------------------------------------


@pytest.mark.parametrize("other", [2.0, rng.standard_normal((3, 3)), frozen(3, 3)])
def test_operators_from_either_side(other):
    x = leaf(3, 3)
    o = other.data if isinstance(other, Tensor) else other
    d = x.data
    for y, wanted in [
        (x + other, d + o),
        (other + x, o + d),
        (x - other, d - o),
        (other - x, o - d),
        (x * other, d * o),
        (other * x, o * d),
        (x / other, d / o),
        (other / x, o / d),
        (-x, -d),
    ]:
        assert isinstance(y, Tensor) and y.requires_grad
        same([y.data], [wanted])
    if np.ndim(o):
        same([(x @ other).data, (other @ x).data], [d @ o, o @ d])


def test_a_python_number_keeps_float32():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    y = -(1.0 / (2.0 * x + 1.0) - 0.5) / 3.0
    assert y.dtype == grad(ops.sum(y), [x])[0].dtype == np.float32
