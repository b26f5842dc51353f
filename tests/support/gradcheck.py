"""Is a gradient the derivative?  Asked along random directions, never entry by entry."""

from functools import partial

import numpy as np

from minipeft.autograd.tensor import Tensor, grad


def gradcheck(f, *xs, analytic=True, seed=0, tries=3):
    """Assert ⟨g, v⟩ = d/dt ⟨u, f(x + t v)⟩ at t = 0 for g = ∇⟨u, f⟩, every x, random u and v.

    f takes and returns tensors.  Returns the worst error, as a part of Σ |g v|.
    analytic: f can be computed of complex numbers; else the derivative is one of differences.
    """
    rng, worst = np.random.default_rng([seed, 3]), 0.0
    derivative, tolerance = (complex_step, 1e-12) if analytic else (differences, 1e-9)
    for _ in range(tries):
        leaves = [Tensor(x, requires_grad=True) for x in xs]
        y = f(*leaves)
        u = rng.standard_normal(y.shape)
        u.flags.writeable = False
        for i, g in enumerate(grad(y, leaves, [u])):
            assert g.shape == xs[i].shape, f"argument {i} is {xs[i].shape}, its gradient {g.shape}"
            v = rng.standard_normal(g.shape)
            found, true = (g * v).sum(), derivative(partial(along, v, i, u, f, xs))
            scale, error = np.abs(g * v).sum() + abs(true), abs(found - true)
            wrong = f"argument {i}: ⟨g, v⟩ = {found}, it should be {true}"
            assert error <= tolerance * scale, wrong
            worst = max(worst, error / scale if scale else 0.0)
    return worst


def along(v, i, u, f, xs, t):
    """⟨u, f⟩ with x_i + t v for x_i"""
    moved = [x + t * (v if j == i else 0) for j, x in enumerate(xs)]
    return (u * f(*map(Tensor, moved)).data).sum()


def complex_step(f, h=1e-30):
    """f'(0) = Im f(ih) / h: nothing is subtracted, so nothing is lost        Squire & Trapp 1998"""
    return f(1j * h).imag / h


def differences(f, h=1e-2):
    """f'(0) by central differences, their errors in h² and h⁴ removed        Richardson 1911"""
    a, b, c = ((f(h) - f(-h)) / (2 * h) for h in (h, h / 2, h / 4))
    a, b = (4 * b - a) / 3, (4 * c - b) / 3
    return (16 * b - a) / 15
