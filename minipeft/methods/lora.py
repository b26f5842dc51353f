"""Low-rank adaptation: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation
from ..ops import dropout


@dataclass
class LoRA(Adaptation):
    """h = W₀ x + (α/r) B A x        A Gaussian, B = 0        eq. 3        (here in rows: x A B)"""

    rank: int = 8  # r
    alpha: float = 16  # α: the product B A is scaled by α/r
    dropout: float = 0.0  # on the x of the low-rank branch alone, in training
    targets: str = r"attn\.[qv]$"  # which layers, by path: a regular expression

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.dropout < 1:
            raise ValueError(f"LoRA: dropout={self.dropout} must be from 0 to below 1")

    def start(self, layer, rng):
        I, O = layer.shape
        return rng.normal(0, I**-0.5, (I, self.rank)), np.zeros((self.rank, O))

    def apply(self, layer, x, A, B):
        dropped = dropout(x, p=self.dropout, rng=self.rng) if self.rng else x
        return layer(x) + dropped @ (self.alpha / self.rank * A) @ B

    def weights(self, layer, A, B):
        return {"W": layer.W + self.alpha / self.rank * A @ B}
