"""Low-rank adaptation: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"."""

import re
from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation
from ..ops import dropout
from ..tensor import Tensor


@dataclass
class LoRA(Adaptation):
    """h = W₀ x + (α/r) B A x        A Gaussian, B = 0        Hu et al. 2021, eq. 3

    Here in rows: x A B.  Of an embedding x A is rows of A.
    """

    rank: int = 8  # r
    alpha: float = 16  # α: the product B A is scaled by α/r
    dropout: float = 0.0  # on the x of the low-rank branch alone, in training
    targets: str = r"attn\.[qv]$"  # which layers, by path: a regular expression
    rank_stabilised: bool = False  # scaled by α/√r: Kalajdzievski 2023
    fused: bool = False  # q, k and v of an attention share one A

    @property
    def scale(self):
        return self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)

    def start(self, layer, rng):
        I, O = layer.shape
        return rng.normal(0, I**-0.5, (I, self.rank)), np.zeros((self.rank, O))

    def attach(self, model, rng):
        super().attach(model, rng)
        if self.fused and not self.share(self.at, whatever=True):
            raise ValueError(f"{self!r}: of q, k and v no two are adapted, so nothing is fused")
        return self

    def share(self, at, whatever=False):
        """Make the As of an attention one, if they are equal, or whatever they are; did that do?"""
        first = {}
        for path, added in at.items():
            A = first.setdefault(re.sub(r"attn\.[qkv]$", "attn.qkv", path), added[0])
            if not whatever and not np.array_equal(A.data, added[0].data):
                return False
            added[0] = A
        return len(first) < len(at)

    def branch(self, layer, x, A, B):
        if self.rng and isinstance(x, Tensor):  # token ids are not dropped
            x = dropout(x, p=self.dropout, rng=self.rng)
        return layer.product(x, self.scale * A) @ B

    def apply(self, layer, x, A, B):
        return layer(x) + self.branch(layer, x, A, B)

    def weights(self, layer, A, B):
        return {"W": layer.W + self.scale * A @ B}
