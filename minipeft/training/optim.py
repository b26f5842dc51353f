"""AdamW, clipping, and schedules of the learning rate."""

import numpy as np

from ..autograd.backend import host


class AdamW:
    """m ← β₁ m + (1-β₁) g;  v ← β₂ v + (1-β₂) g²;  p ← p - lr (m̂ / (√v̂ + ε) + λ p)

    with m̂ = m / (1-β₁ᵗ), v̂ = v / (1-β₂ᵗ)        Loshchilov & Hutter 2019, algorithm 2
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.parameters, self.lr, self.betas = list(parameters), lr, betas
        self.eps, self.weight_decay, self.t = eps, weight_decay, 0
        self.m, self.v = ([np.zeros_like(p.data) for p in self.parameters] for _ in range(2))

    def step(self, grads=None, lr=None):
        """Change every parameter in place; without grads, by what `backward` left, and clear it."""
        if grads is None:
            grads = [np.zeros_like(p.data) if p.grad is None else p.grad for p in self.parameters]
            for p in self.parameters:
                p.grad = None
        lr = self.lr if lr is None else lr
        self.t += 1
        b1, b2 = self.betas
        c1, c2 = 1 - b1**self.t, (1 - b2**self.t) ** 0.5
        for p, g, m, v in zip(self.parameters, grads, self.m, self.v, strict=True):
            m += (1 - b1) * (g - m)
            v += (1 - b2) * (g * g - v)
            d = np.sqrt(v)
            d += self.eps * c2
            np.divide(m, d, out=d)
            d *= lr * c2 / c1
            p.data *= 1 - lr * self.weight_decay
            p.data -= d


def measured(loss, grads):
    """A loss and the common norm of gradients, as numbers: what waits for a device, once."""
    value, *squares = host(np.stack([loss, *(np.vdot(g, g) for g in grads)])).tolist()
    return value, sum(squares) ** 0.5


def clip(grads, limit, norm):
    """All of them scaled so that their common norm, `norm`, is at most `limit`."""
    return [g * (limit / norm) for g in grads] if limit < norm < np.inf else grads


SCHEDULES = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": lambda done: 0.5 * (1 + np.cos(np.pi * done)),
}


def schedule(kind, steps, warmup=0):
    """f(t), what the rate is multiplied by at step t: up from 0 for `warmup` steps, then `kind`."""
    if kind not in SCHEDULES:
        raise ValueError(f"schedule={kind!r}: there is {', '.join(SCHEDULES)}")

    def factor(t):
        if t < warmup:
            return (t + 1) / (warmup + 1)
        return float(SCHEDULES[kind](min(1.0, (t - warmup) / max(1, steps - warmup))))

    return factor
