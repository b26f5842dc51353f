"""What NumPy and PyTorch users write with tensors: it works, or an error says what to write."""

import numpy as np
import pytest

from minipeft.autograd import ops
from minipeft.autograd.tensor import Tensor, grad
from tests.support import device
from tests.support.gradcheck import gradcheck

rng = np.random.default_rng(0)


def same(found, wanted):
    np.testing.assert_array_equal(found, wanted, strict=True)


# -- what a tensor is made of ---------------------------------------------------------


@pytest.mark.parametrize(
    "numbers", [[1.0, 2.0], (1, 2), np.array([1, 2]), range(1, 3), [np.float64(1), np.int8(2)]]
)
def test_numbers_become_float32(numbers):
    same((Tensor(numbers) * 2).data, np.float32([2, 4]))


@pytest.mark.parametrize("number", [1, True, 1.0, np.int64(1), np.True_, np.array(1)])
def test_a_number_becomes_an_array_without_axes(number):
    same(Tensor(number).data, np.array(1, np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex128])
def test_floats_keep_their_dtype(dtype):
    x = np.ones(2, dtype)
    assert Tensor(x).data is x
    same(Tensor(x[0]).data, np.array(1, dtype))


@pytest.mark.parametrize("wrong", [None, "2", ["a"], [None], {1}, object(), [[1], "b"]])
def test_a_tensor_is_made_of_numbers(wrong):
    with pytest.raises((TypeError, ValueError), match="a Tensor is made of numbers|one length"):
        Tensor(wrong)


def test_rows_have_one_length():
    with pytest.raises(ValueError, match=r"one length; got \[\[1, 2\], \[3\]\]"):
        Tensor([[1, 2], [3]])


@pytest.mark.parametrize("make", [Tensor, np.asarray, lambda t: Tensor([t, t]), np.array])
def test_a_tensor_does_not_become_an_array(make):
    with pytest.raises(TypeError, match=r"use its array, \.data"):
        make(Tensor([1.0], requires_grad=True))


# -- operands ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", [[1, 2], (1.0, 2.0), np.array([1, 2]), np.array(2), np.float64(2), np.int8(2), 2, True]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_on_either_side_take_the_dtype_of_the_tensor(other, dtype):
    x, o = Tensor(np.array([3, 4], dtype), requires_grad=True), np.asarray(other, dtype)
    for y, wanted in [
        (x * other, x.data * o),
        (other * x, o * x.data),
        (other - x, o - x.data),
        (x / other, x.data / o),
        (x**other, x.data**o),
        (other**x, o**x.data),
    ]:
        np.testing.assert_allclose(y.data, wanted, rtol=1e-6, strict=True)
        assert grad(ops.sum(y), [x])[0].dtype == dtype


def test_an_array_of_floats_keeps_its_dtype_beside_a_tensor():
    x = Tensor(np.ones(2, np.float32))
    assert (x * np.ones(2)).dtype == (np.ones(2) * x).dtype == np.float64


@pytest.mark.parametrize("other", [None, "a", [None], {}])
def test_other_operands_are_refused(other):
    for f in (lambda x: x + other, lambda x: other + x, lambda x: other * x):
        with pytest.raises(TypeError, match="made of numbers"):
            f(Tensor([1.0]))


def test_arithmetic_in_place_makes_a_new_tensor():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y, total = x, np.zeros(2, np.float32)
    y += 1
    y *= x
    total += y
    same(total.data, np.float32([2, 6]))
    same(x.data, np.float32([1, 2]))
    same(grad(ops.sum(total), [x])[0], np.float32([3, 5]))


def test_comparisons_return_arrays_of_booleans():
    x = Tensor([1.0, 2.0])
    for found in (x == 2, x == Tensor([0, 2]), x > 1, np.array([0, 2]) == x, 1 < x, x != 1):
        same(found, np.array([False, True]))
    assert len({x, x, Tensor([1.0, 2.0])}) == 2  # a key of a set or dict by its identity


def test_tensors_of_a_device_on_either_side():
    x = Tensor(device.ndarray(np.float32([1, 2])), requires_grad=True)
    assert Tensor(device.ndarray([1, 2])).dtype == np.float32
    for y in (x * [2, 3], [2, 3] * x, np.array(2) * x, device.ndarray(np.float32([2, 3])) * x):
        assert isinstance(y.data, device.ndarray) and y.dtype == np.float32
    assert isinstance(grad(x.mean() + x[0] ** 2, [x])[0], device.ndarray)


# -- methods and functions ----------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.sum(),
        lambda x: x.sum(axis=0),
        lambda x: x.sum(-1, keepdims=True),
        lambda x: x.mean(),
        lambda x: x.mean((0, 1)),
        lambda x: x.mean(axis=1, keepdims=True),
        lambda x: x**3,
        lambda x: x**-2.0,
        lambda x: x[1],
        lambda x: x[:, None, ::2],
        lambda x: x[[0, 1, 1]],
        lambda x: x[np.array([[True, False, True], [False, True, True]])],
        lambda x: x.T,
        lambda x: x @ x.T,
        lambda x: x.reshape(3, 2),
        lambda x: x.reshape((-1,)),
        lambda x: +(-x),
        lambda x: np.exp(x),
        lambda x: np.log(np.sqrt(x)),
        lambda x: np.tanh(x),
        lambda x: np.sum(x, axis=1),
        lambda x: np.mean(x),
        lambda x: np.reshape(x, (6, 1)),
        lambda x: np.multiply(x, 2) - np.power(x, 2) / np.add(1, x),
    ],
)
def test_what_works_on_an_array_works_on_a_tensor(f):
    x = rng.random((2, 3)) + 0.5
    np.testing.assert_allclose(f(Tensor(x)).data, f(x), rtol=1e-14, strict=True)
    gradcheck(f, x)


def test_a_power_of_zero_has_no_gradient():
    x = Tensor([0.0, 2.0], requires_grad=True)
    same(grad(ops.sum(x**0), [x])[0], np.float32([0, 0]))


def test_the_rows_of_a_tensor():
    x = Tensor([[1, 2], [3, 4]], requires_grad=True)
    first, second = x
    assert len(x) == 2 and x.size == 4 and np.shape(x) == (2, 2) and np.ndim(x) == 2
    same(grad(ops.sum(first * second), [x])[0], np.float32([[3, 4], [1, 2]]))
    with pytest.raises(TypeError, match="len"):
        list(x.sum())


def test_the_number_of_a_tensor():
    x = Tensor([[2.5]])
    assert x.item() == float(x) == 2.5 and isinstance(x.item(), float)
    assert f"{x:.2f}" == "2.50" and f"{x}" == repr(x)
    assert bool(x) and not Tensor(0.0)
    for f in (Tensor.item, bool, "{:.2f}".format):
        with pytest.raises(ValueError, match="size 1|more than one element"):
            f(Tensor([1, 2]))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.detach(),
        lambda x: x.numpy(),
        lambda x: x.max(),
        lambda x: np.max(x),
        lambda x: np.maximum(x, 0),
        lambda x: np.add.reduce(x),
        lambda x: np.exp(x, out=Tensor([0.0])),
        lambda x: np.concatenate([x, x]),
        lambda x: np.transpose(x),
        lambda x: x // 2,
        lambda x: abs(x),
    ],
)
def test_the_rest_says_what_to_use(f):
    with pytest.raises((AttributeError, TypeError), match=r"is \.data; operations with a gradient"):
        f(Tensor([1.0, 2.0]))


@pytest.mark.parametrize("gradient", [[1, 2], np.array([1, 2]), Tensor([1, 2])])
def test_the_gradient_given_to_backward_may_be_of_any_kind(gradient):
    x = Tensor([3.0, 4.0], requires_grad=True)
    (x * 2).backward(gradient)
    same(x.grad, np.float32([2, 4]))


def test_logits_without_an_adaptation_have_no_gradient():
    with pytest.raises(RuntimeError, match=r"model\.loss\(ids, labels, γ\)"):
        Tensor([1.0]).backward()
