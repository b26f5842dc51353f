"""AdamW, gradient clipping, and learning rate schedules."""

from collections.abc import Callable
from numbers import Real

import numpy as np

from ..autograd.backend import host, on_host
from ..autograd.nn import Parameters
from ..autograd.products import block_map
from ..autograd.tensor import Tensor

BLOCK = 1 << 18  # numbers of a parameter that are updated at a time


class AdamW:
    """m ← β₁ m + (1-β₁) g;  v ← β₂ v + (1-β₂) g²;  p ← p - lr (m̂ / (√v̂ + ε) + λ p)

    with m̂ = m / (1-β₁ᵗ), v̂ = v / (1-β₂ᵗ)        Loshchilov & Hutter 2019, algorithm 2

    parameters: tensors.  lr, betas (β₁, β₂), eps (ε), weight_decay (λ): as in torch.optim.AdamW.
    no_decay: parameters with λ = 0, usually biases and the gains of norms.
    eps_hat: m̂ (1-β₂ᵗ)^½ / (√v + ε) in place of m̂ / (√v̂ + ε): the ε̂ of Kingma & Ba 2015, §2, which
    TensorFlow has, and with it OpenAI's code of human feedback.  It makes the first steps smaller.
    Raises TypeError for what is not tensors, ValueError for frozen ones and numbers out of range.
    """

    def __init__(
        self,
        parameters,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        no_decay=(),
        eps_hat=False,
    ):
        self.parameters, self.lr, self.betas = check_parameters(parameters), lr, betas
        numbers = {"lr": lr, "eps": eps, "weight_decay": weight_decay}
        for name, value in numbers.items():
            if not (isinstance(value, Real) and 0 <= value < np.inf):
                raise ValueError(f"{name}={value!r} must be a number of at least 0")
        if len(betas) != 2 or not all(0 <= β < 1 for β in betas):
            raise ValueError(f"betas={betas!r} must be two numbers from 0 to below 1")
        self.eps, self.eps_hat, self.t = eps, eps_hat, 0
        exempt = {id(p) for p in no_decay}
        if exempt - {id(p) for p in self.parameters}:
            raise ValueError("no_decay has a tensor that is not one of the parameters: remove it")
        self.decays = [0.0 if id(p) in exempt else weight_decay for p in self.parameters]  # λ
        self.m, self.v = ([np.zeros_like(p.data) for p in self.parameters] for _ in range(2))
        self.blocks = [(i, rows) for i, p in enumerate(self.parameters) for rows in blocks(p.data)]

    def step(self, grads=None, lr: float | None = None, factor: float = 1.0) -> None:
        """Update every parameter in place.

        grads: an array for each parameter; None: p.grad, from `backward`, which is then cleared.
        lr: the learning rate of this step; None: that of the optimizer.
        factor: of the gradients, as `clip_factor` returns it.
        """
        if grads is None:
            grads = [np.zeros_like(p.data) if p.grad is None else p.grad for p in self.parameters]
            self.zero_grad()
        if len(grads) != len(self.parameters):
            raise ValueError(
                f"{len(grads)} gradients were given for {len(self.parameters)} parameters"
            )
        lr = self.lr if lr is None else lr
        self.t += 1
        b1, b2 = self.betas
        c1, c2 = 1 - b1**self.t, (1 - b2**self.t) ** 0.5

        def update(block):
            i, rows = block
            p, g, m, v = (
                x[rows] for x in (self.parameters[i].data, grads[i], self.m[i], self.v[i])
            )
            if factor != 1:
                g = g * factor
            d = np.subtract(g, m, out=np.empty_like(m))
            d *= 1 - b1
            m += d
            np.multiply(g, g, out=d)
            d -= v
            d *= 1 - b2
            v += d
            np.sqrt(v, out=d)
            d += self.eps * (1 if self.eps_hat else c2)
            np.divide(m, d, out=d)
            d *= lr * c2 / c1
            if self.decays[i]:
                p *= 1 - lr * self.decays[i]
            p -= d

        run = block_map.get() if len(self.blocks) > len(self.parameters) else None
        for _ in (run or map)(update, self.blocks):
            pass

    def zero_grad(self) -> None:
        """Clear p.grad of every parameter, as `step` does after using it."""
        for p in self.parameters:
            p.grad = None


def blocks(x) -> list:
    """Return the index of each block of rows of the array x; a block fits into a cache."""
    if x.size <= BLOCK or not on_host(x):
        return [...]
    rows = max(1, BLOCK * len(x) // x.size)
    return [slice(at, at + rows) for at in range(0, len(x), rows)]


def check_parameters(parameters) -> list[Tensor]:
    """Return parameters as a list; raise TypeError or ValueError for what can't be trained."""
    one = isinstance(parameters, (Parameters, Tensor))
    parameters = [parameters] if one else list(parameters)
    if one or not all(isinstance(p, Tensor) for p in parameters):
        raise TypeError("an optimizer takes a list of tensors, AdamW(γ.parameters())")
    if not all(p.node and p.node.leaf for p in parameters):
        raise ValueError(
            "these tensors are not trained, as those of a model, which is frozen: give those of an "
            "adaptation, AdamW(γ.parameters())"
        )
    return parameters


def loss_and_norm(loss, grads) -> tuple[float, float]:
    """Return a loss and the norm of all gradients together, as floats.

    On a GPU this waits once.
    """
    value, *squares = host(np.stack([loss, *(np.vdot(g, g) for g in grads)])).tolist()
    return value, sum(squares) ** 0.5


def clip_factor(norm: float, limit: float) -> float:
    """Return the factor of gradients of this norm that reduces it to the limit if it is larger."""
    return limit / norm if limit < norm < np.inf else 1.0


SCHEDULES = {  # {kind: factor, for the fraction of the steps after warmup that is done}
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: 0.5 * (1 + np.cos(np.pi * done)),
}


def schedule(kind: str, steps: int, warmup: int = 0) -> Callable[[int], float]:
    """Return f(t), the factor of the learning rate at step t of `steps`.

    It rises linearly for `warmup` steps.  Then it is 1 (kind="constant"), or falls to 0 at the last
    step ("linear", "cosine").  Raises ValueError for another kind.
    """
    if kind not in SCHEDULES:
        raise ValueError(f"schedule={kind!r} must be one of {', '.join(SCHEDULES)}")

    def factor(t):
        if t < warmup:
            return (t + 1) / (warmup + 1)
        return float(SCHEDULES[kind](min(1.0, (t - warmup) / max(1, steps - warmup))))

    return factor
