"""L-BFGS, for smooth convex functions        Nocedal & Wright 2006, algorithms 7.4 and 7.5"""

from collections import deque
from collections.abc import Callable

import numpy as np

HISTORY = 50  # pairs (s, y) that are kept: steps, and changes of the gradient


class NotConverged(ArithmeticError):
    """Raised if the minimum of a function was not reached."""


def minimize(f: Callable, x: np.ndarray, is_done: Callable, scale, most: int = 5000) -> np.ndarray:
    """Return the first x for which is_done(gradient of f at x).

    f: returns the value and the gradient at x.  scale: approximately the inverse of the diagonal of
    the Hessian, in the shape of x.  Raises NotConverged after `most` steps.
    """
    (value, g), pairs = f(x), deque(maxlen=HISTORY)
    for _ in range(most):
        if is_done(g):
            return x
        p, α = direction(g, pairs, scale), 1.0
        slope, rounding = (g * p).sum(), 1e-14 * abs(value)
        new_value, new_g = f(x + p)
        while not new_value <= value + 1e-4 * α * slope + rounding and α > 1e-9:  # eq. 3.4
            α /= 2
            new_value, new_g = f(x + α * p)
        s, y = α * p, new_g - g
        if (s * y).sum() > 0:
            pairs.append((s, y))
        x, value, g = x + s, new_value, new_g
    raise NotConverged(
        f"L-BFGS did not converge in {most} steps: the value is {value:.6g}, and the norm of the "
        f"gradient {np.linalg.norm(g):.3g}"
    )


def direction(g, pairs, scale):
    """Return -H g, with the inverse Hessian H that the pairs (s, y) imply        algorithm 7.4"""
    q, αs = -g, []
    for s, y in reversed(pairs):
        αs.append((s * q).sum() / (s * y).sum())
        q = q - αs[-1] * y
    if pairs:
        s, y = pairs[-1]
        scale = scale * (s * y).sum() / (y * scale * y).sum()  # eq. 7.20
    r = scale * q
    for (s, y), α in zip(pairs, reversed(αs)):
        r = r + s * (α - (y * r).sum() / (s * y).sum())
    return r
