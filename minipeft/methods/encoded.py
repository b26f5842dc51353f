"""Reparametrisation: the rows that a method adds are what a network makes of other rows."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation, placed
from ..ops import cut, tanh


@dataclass
class Encoded(Adaptation):
    """P[i, :] = MLP(E[i, :]),  MLP = Linear → tanh → Linear        Li & Liang 2021, §4.3

    E and the MLP start at random, whatever the method alone would start from.
    One network makes the rows of all layers, side by side.  It runs once a forward (`now`);
    after training `fold` keeps its result alone.
    """

    method: Adaptation
    hidden: int = 512

    def attach(self, model, rng):
        self.method.attach(model, rng)
        rows = self.method.parameters()
        if len({p.shape[0] for p in rows}) != 1:
            raise ValueError(
                f"{self.method!r} adds no rows of one number everywhere that a network could make"
            )
        k, D, h, O = (
            rows[0].shape[0],
            model.config.width,
            self.hidden,
            sum(p.shape[1] for p in rows),
        )
        E = rng.normal(0, 1, (k, D))
        W1, b1 = (rng.uniform(-1, 1, s) * D**-0.5 for s in ((D, h), (1, h)))
        W2, b2 = (rng.uniform(-1, 1, s) * h**-0.5 for s in ((h, O), (1, O)))
        return self.lay({"encoder": [placed(p, model) for p in (E, W1, b1, W2, b2)]}, model)

    def names(self, path):
        return "E", "W1", "b1", "W2", "b2"

    def encode(self, E, W1, b1, W2, b2):
        return tanh(E @ W1 + b1) @ W2 + b2

    def now(self, rng=None):
        y = self.encode(*self.attached()["encoder"])
        rows = self.method.parameters()
        ends = np.cumsum([p.shape[-1] for p in rows])
        cuts = {
            id(p): cut(y, int(end) - p.shape[-1], int(end))
            for p, end in zip(rows, ends, strict=True)
        }
        return self.method.using(cuts).now(rng)
