"""Logistic regression of several classes, solved: the matrix of a linear probe."""

from collections.abc import Callable, Iterator

import numpy as np

from .lbfgs import minimize
from .trainer import NonFinite

GAP = 1e-6  # the loss is at most this far from its minimum
PATH_GAP = 1e-4  # the same, where solutions are only compared
PATH = tuple(10.0**-i for i in range(6))  # λ, as multiples of the mean square of the features


class LogisticRegression:
    """1/N Σ_i -log softmax(Wᵀ x_i)[y_i] + λ/2 ‖W‖²        W (D, C)

    x (N, D): features, with a column of ones where a bias is wanted.  y (N,): classes below C.
    Everything is computed in float64.  Raises NonFinite if a feature is NaN or infinite.

    The loss is λ-strongly convex, so it is at most ‖gradient‖² / 2λ above its minimum: it is
    minimised until this bound is below the `gap` that is asked for, and NotConverged is raised if
    it can't be reached.  The variable is V = Qᵀ W, where Q are the eigenvectors of xᵀx: the penalty
    and the minimum remain, and the Hessian is almost diagonal, however badly x is scaled.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, C: int):
        x = np.asarray(x, np.float64)
        if not np.isfinite(x).all():
            bad = (~np.isfinite(x).all(1)).sum()
            raise NonFinite(f"the features of {bad} of {len(x)} examples are NaN or infinite")
        self.mean_square = (x**2).mean() or 1.0
        self.Q = np.linalg.eigh(x.T @ x)[1]
        self.X = np.ascontiguousarray((x @ self.Q).T)  # (D, N)
        self.N, self.C = len(x), C
        self.Xy = self.X @ np.eye(C)[y] / self.N  # (D, C)

    def probabilities(self, V):
        """Return softmax(Vᵀ X) (C, N), and the mean of log Σ_c exp(Vᵀ X)."""
        z = V.T @ self.X
        largest = z.max(0)
        p = np.exp(z - largest, out=z)
        total = p.sum(0)
        p /= total
        return p, (largest + np.log(total)).mean()

    def loss_and_gradient(self, V, λ):
        """Return the loss, and its gradient (D, C)."""
        p, log_total = self.probabilities(V)
        loss = log_total - (V * self.Xy).sum() + λ / 2 * (V**2).sum()
        return loss, self.X @ p.T / self.N - self.Xy + λ * V

    def solve(self, λ: float, W: np.ndarray | None = None, gap: float = GAP) -> np.ndarray:
        """Return the minimiser W (D, C) of the loss, found from W, or from 0.

        Raises ValueError unless λ is greater than 0 and finite.
        """
        if not 0 < λ < np.inf:
            raise ValueError(f"λ={λ} must be greater than 0 and finite")
        V = np.zeros_like(self.Xy) if W is None else self.Q.T @ W
        p, _ = self.probabilities(V)
        curvature = self.X**2 @ (p * (1 - p)).T / self.N + λ  # the diagonal of the Hessian
        is_done = lambda g: (g**2).sum() <= 2 * λ * gap
        return self.Q @ minimize(lambda V: self.loss_and_gradient(V, λ), V, is_done, 1 / curvature)

    def path(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield (λ, W) from the strongest λ to the weakest, each W found from the one before."""
        W = None
        for λ in (factor * self.mean_square for factor in PATH):
            W = self.solve(λ, W, PATH_GAP)
            yield λ, W

    def choose(self, score: Callable) -> tuple[float, np.ndarray]:
        """Return the λ for which score(W) is highest, the strongest if several are, and its W."""
        λ, W = max(self.path(), key=lambda found: score(found[1]))
        return λ, self.solve(λ, W)
