"""Logistic regression is solved: the gradient through the library's autograd is 0 at its W."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minipeft as mp
from minipeft.autograd.tensor import Tensor, grad
from minipeft.model.heads import Head
from minipeft.training.lbfgs import NotConverged, minimize
from minipeft.training.logistic import GAP, PATH, LogisticRegression
from minipeft.training.trainer import NonFinite


def draw(seed, badly_scaled=True):
    """Features of up to 60 examples, up to 12 columns and six orders of magnitude, and labels."""
    rng = np.random.default_rng(seed)
    N, D, C = rng.integers(1, 60), rng.integers(1, 12), rng.integers(2, 6)
    x = rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + rng.normal(size=D)
    x = x * 10.0 ** rng.uniform(-3, 3, D) if badly_scaled else x
    y = rng.integers(0, C, N)
    if rng.random() < 0.3:
        y = (x @ rng.normal(size=(D, C))).argmax(1)  # separable: W would be infinite without λ
    return x, y, int(C)


def loss_and_gradient(x, y, W):
    """The mean cross-entropy of a Head with the matrix W, and its gradient, by autograd."""
    D, C = W.shape
    base = mp.Decoder(mp.Config(9, D, layers=1, heads=1, length=9), np.random.default_rng(0))
    model = mp.Classifier(base, C)
    head, probe = Head(model.score, model.config), mp.Probe().attach(model)
    probe = probe.map(lambda p: Tensor(W, requires_grad=True))
    loss = head.loss(x[:, None], y, probe)
    return float(loss.data), grad(loss, probe.parameters())[0]


def check_gradient(seed):
    x, y, C = draw(seed)
    regression = LogisticRegression(x, y, C)
    for factor in (10, 1e-2, 1e-5):
        λ = factor * regression.mean_square
        W = regression.solve(λ)
        loss, g = loss_and_gradient(x, y, W)
        assert np.sqrt(((g + λ * W) ** 2).sum()) <= 1.001 * np.sqrt(2 * λ * GAP)
        ours, _ = regression.loss_and_gradient(regression.Q.T @ W, λ)
        assert ours == pytest.approx(loss + λ / 2 * (W**2).sum(), abs=1e-12, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_the_gradient_is_0_at_the_solution(seed):
    check_gradient(seed)


def test_the_gap_bounds_the_distance_to_the_minimum():
    x, y, C = draw(1)
    regression = LogisticRegression(x, y, C)
    loss = lambda W, λ: regression.loss_and_gradient(regression.Q.T @ W, λ)[0]
    for λ in (regression.mean_square * factor for factor in PATH):
        least = loss(regression.solve(λ, gap=1e-14), λ)
        for gap in (1e-2, 1e-5, 1e-8):
            assert 0 <= loss(regression.solve(λ, gap=gap), λ) - least + 1e-14 <= gap


def test_the_solution_does_not_depend_on_where_it_is_found_from():
    x, y, C = draw(2, badly_scaled=False)
    regression, rng = LogisticRegression(x, y, C), np.random.default_rng(0)
    W = regression.solve(0.1, gap=1e-16)
    far = regression.solve(0.1, 30 * rng.normal(size=W.shape), gap=1e-16)
    assert np.abs(W).max() > 0.1 and np.abs(W - far).max() < 1e-6
    assert np.abs(regression.solve(0.1, W) - W).max() < 1e-14  # W is done at once


@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_the_path_does_not_depend_on_the_unit_of_the_features(scale):
    x, y, C = draw(3, badly_scaled=False)
    path = [*LogisticRegression(x, y, C).path()]
    scaled = [*LogisticRegression(scale * x, y, C).path()]
    assert len(path) == len(scaled) == len(PATH)
    for (λ, W), (scaled_λ, scaled_W) in zip(path, scaled):
        assert scaled_λ == pytest.approx(scale**2 * λ)
        assert np.abs(scale * scaled_W - W).max() < 1e-3 * np.abs(W).max()
    assert np.diff([np.linalg.norm(W) for _, W in path]).min() > 0  # λ becomes weaker


def test_the_best_λ_is_chosen_and_the_strongest_of_equals():
    x, y, C = draw(4)
    regression = LogisticRegression(x, y, C)
    norms = [np.linalg.norm(W) for _, W in regression.path()]
    for scores, best in (([1, 3, 2, 3, 0, 0], 1), ([0] * 6, 0), ([0, 0, 0, 0, 0, 1], 5)):
        rest = iter(scores)
        λ, W = regression.choose(lambda W: next(rest))  # noqa: B023
        assert λ == PATH[best] * regression.mean_square
        assert np.linalg.norm(W) == pytest.approx(norms[best], rel=0.1)
        _, g = loss_and_gradient(x, y, W)
        assert ((g + λ * W) ** 2).sum() <= 2.01 * λ * GAP


def test_features_that_are_all_0_are_solved():
    regression = LogisticRegression(np.zeros((5, 3)), np.array([0, 1, 1, 0, 1]), 2)
    assert all(not W.any() for _, W in regression.path())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_counted(bad):
    x = np.zeros((5, 3))
    x[[1, 4], 2] = bad
    with pytest.raises(NonFinite, match="the features of 2 of 5 examples are NaN or infinite"):
        LogisticRegression(x, np.zeros(5, int), 2)


@pytest.mark.parametrize("λ", [0, -1, np.nan, np.inf])
def test_the_penalty_must_be_positive(λ):
    with pytest.raises(ValueError, match=f"λ={λ} must be greater than 0 and finite"):
        LogisticRegression(*draw(0)).solve(λ)


# -- L-BFGS


def quadratic(A, b):
    return lambda x: ((x * (A @ x)).sum() / 2 - (b * x).sum(), A @ x - b)


def test_a_quadratic_function_is_minimised_in_few_steps():
    rng = np.random.default_rng(0)
    Q, b = np.linalg.qr(rng.normal(size=(8, 8)))[0], rng.normal(size=8)
    A, calls = Q @ np.diag(10.0 ** np.linspace(-1, 2, 8)) @ Q.T, []
    f = quadratic(A, b)
    count = lambda x: (calls.append(x), f(x))[1]
    x = minimize(count, np.zeros(8), lambda g: np.abs(g).max() < 1e-4, 1 / np.diag(A))
    assert np.abs(x - np.linalg.solve(A, b)).max() < 0.01 and len(calls) < 50


def test_a_minimum_that_is_not_reached_raises():
    f = quadratic(np.eye(3), np.ones(3))
    with pytest.raises(NotConverged, match="did not converge in 4 steps: the value is -1.5"):
        minimize(f, np.zeros(3), lambda g: False, 1.0, most=4)
    x = minimize(f, np.zeros(3), lambda g: not g.any(), 1.0, most=4)
    assert np.array_equal(x, np.ones(3))
