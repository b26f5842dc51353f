"""Reparametrisation: the rows that a method adds are what a network makes of other rows."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation, placed
from ..ops import cut, tanh


class Reparametrised(Adaptation):
    """The rows of `self.method`, all layers side by side, are `encode` of what `network` starts.

    E and the network start at random, whatever the method alone would start from.  It runs once a
    forward (`now`); after training `fold` keeps its result alone.
    """

    def network(self, k, D, O, rng):
        """{name: array} for k rows of O numbers, beside a model of width D: first E (k, D)"""
        raise NotImplementedError

    def encode(self, *θ):
        """The rows (k, O)"""
        raise NotImplementedError

    template = property(lambda self: self.method.template)

    def pseudo(self, B):
        return self.method.pseudo(B)

    def attach(self, model, rng):
        self.method.attach(model, rng)
        rows = self.method.parameters()
        adds = type(self.method).past is not Adaptation.past or self.method.pseudo(1)
        if not adds or len({p.shape[0] for p in rows}) != 1:
            raise ValueError(
                f"{self.method!r} adds no rows of one number everywhere that a network could make"
            )
        k, D, O = rows[0].shape[0], model.config.width, sum(p.shape[1] for p in rows)
        θ = self.network(k, D, O, rng)
        self.named = tuple(θ)
        return self.lay({"encoder": [placed(p, model) for p in θ.values()]}, model)

    def names(self, path):
        return self.named

    def now(self, rng=None):
        y = self.encode(*self.attached()["encoder"])
        rows = self.method.parameters()
        ends = np.cumsum([p.shape[-1] for p in rows])
        cuts = {
            id(p): cut(y, int(end) - p.shape[-1], int(end))
            for p, end in zip(rows, ends, strict=True)
        }
        return self.method.using(cuts).now(rng)


def linear(rng, I, O):
    """W (I, O) and b (1, O), uniform to ±1/√I"""
    return [rng.uniform(-1, 1, s) * I**-0.5 for s in ((I, O), (1, O))]


@dataclass
class Encoded(Reparametrised):
    """P[i, :] = W₂ tanh(W₁ E[i, :] + b₁) + b₂        random        Li & Liang 2021, §4.3"""

    method: Adaptation
    hidden: int = 512

    def network(self, k, D, O, rng):
        h = self.hidden
        θ = rng.normal(0, 1, (k, D)), *linear(rng, D, h), *linear(rng, h, O)
        return dict(zip(("E", "W1", "b1", "W2", "b2"), θ))

    def encode(self, E, W1, b1, W2, b2):
        return tanh(E @ W1 + b1) @ W2 + b2
