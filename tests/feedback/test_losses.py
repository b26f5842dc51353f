"""Gradients of the losses are their derivatives, and whole losses are sums over shards."""

import numpy as np
import pytest

from minipeft import Tensor
from minipeft.autograd.functional import clip, log_sigmoid
from minipeft.feedback.losses import pairwise_loss, policy_loss, value_loss
from tests.support.gradcheck import gradcheck

rng = np.random.default_rng(0)
N, T = 4, 5
MASK = np.arange(T) < [[5], [2], [4], [1]]
OLD, A = rng.standard_normal((2, N, T))
MOVED = rng.choice([-0.6, -0.15, 0.1, 0.5], (N, T))  # far from where ρ is clipped, ±0.2
FAR = OLD + rng.choice([-2.0, 2.0], (N, T))  # returns
LOSSES = {
    "policy": lambda x, mask=MASK, **o: policy_loss(x, OLD, A, mask, **o),
    "values": lambda x, mask=MASK, **o: value_loss(x, OLD, FAR, mask, **o),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_derivatives(name):
    gradcheck(LOSSES[name], OLD + MOVED, analytic=False)


def test_the_gradient_of_pairs_is_the_derivative():
    weights, margins = rng.random((2, 3, 4, 4))
    gradcheck(
        lambda r: pairwise_loss(r, weights, margins), rng.standard_normal((3, 4)), analytic=False
    )


@pytest.mark.parametrize("name", LOSSES)
def test_shards_add_up_to_the_loss(name):
    x, loss = Tensor(OLD + MOVED), LOSSES[name]
    parts = [loss(x, MASK & (np.arange(N) == n)[:, None], count=MASK.sum()).data for n in range(N)]
    assert np.isclose(sum(parts), loss(x).data)


def test_extreme_numbers_stay_finite():
    x = Tensor(np.array([-1e4, -800.0, 0.0, 800.0, 1e4]))
    assert np.allclose(log_sigmoid(x).data, [-1e4, -800, -np.log(2), 0, 0])
    assert clip(x, -1, 1).data.tolist() == [-1, -1, 0, 1, 1]
    r = Tensor(np.array([[1e4, -1e4]]))
    assert float(pairwise_loss(r, np.array([[[0, 0], [1, 0]]]))) == 2e4
