"""GELU and SiLU, to the last digits and for numbers of any size."""

import numpy as np
import pytest

from minipeft.autograd.functional import gelu, silu
from minipeft.autograd.tensor import Tensor, grad


def literal_gelu(x):
    return x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def literal_silu(x):
    return x * (1 + np.tanh(x / 2)) / 2


both = pytest.mark.parametrize("f, literal", [(gelu, literal_gelu), (silu, literal_silu)])


@both
@pytest.mark.parametrize("dtype, precise", [("f4", "f8"), ("f8", "g")])
def test_an_activation_is_right_to_the_last_digit_of_its_argument(f, literal, dtype, precise):
    """Of a longdouble that is no longer than a double, to the last two."""
    x = np.linspace(-15, 15, 40_001, dtype=dtype)
    error = np.abs(f(Tensor(x)).data - literal(x.astype(precise)))
    assert (error <= 2 * np.spacing(np.abs(x))).all()


@both
@pytest.mark.parametrize("dtype, large", [("f2", 30), ("f4", 1e4), ("f8", 1e50)])
def test_an_activation_of_large_numbers_is_finite_without_a_warning(f, literal, dtype, large):
    x = Tensor(np.array([-large, -11.5, 0, 11.5, large], dtype), requires_grad=True)
    y = f(x)
    (dx,) = grad(y, x, [np.ones(5, dtype)])
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_allclose(y.data, [0, 0, 0, 11.5, large], rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(dx, [0, 0, 0.5, 1, 1], atol=1e-3)
