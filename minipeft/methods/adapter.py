"""Bottleneck adapters: two in each layer, Houlsby et al. 2019, or one, Pfeiffer et al. 2021."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation
from ..ops import gelu

HOULSBY = r"attn\.o$|mlp\.down$"
PFEIFFER = r"mlp\.down$"


@dataclass
class Adapter(Adaptation):
    """h + W_up σ(W_down h)        near the identity        Houlsby et al. 2019, §2.1

    h is what the sub-layer yields, before the residual is added.  Rows: σ(h D + b) U + c.
    """

    bottleneck: int = 16  # columns of W_down
    targets: str = HOULSBY  # which layers, by path: a regular expression

    def start(self, layer, rng):
        O, r = layer.shape[1], self.bottleneck
        return (
            rng.normal(0, 1e-2, (O, r)),
            np.zeros((1, r)),
            rng.normal(0, 1e-2, (r, O)),
            np.zeros((1, O)),
        )

    def apply(self, layer, x, D, b, U, c):
        h = layer(x)
        return h + gelu(h @ D + b) @ U + c
