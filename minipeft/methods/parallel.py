"""Adapters beside a sub-layer: He et al. 2022, "Towards a Unified View of … Transfer Learning"."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation
from ..ops import join_heads, matmul, relu, reshape, split_heads


@dataclass
class ParallelAdapter(Adaptation):
    """h + s · relu(x W_down) W_up        W_down random, W_up = 0        He et al. 2022, table 1

    x is what the sub-layer reads, h what it yields.  With s = 4 at the MLP and a prefix at the
    attention it is their MAM adapter: Chain(PrefixTuning(30), ParallelAdapter(512, 4.0, r"mlp$")).
    """

    bottleneck: int = 16  # columns of W_down
    scale: float = 1.0  # s
    targets: str = r"(attn|mlp)$"  # which layers, by path: a regular expression

    def start(self, layer, rng):
        D, r = layer.width, self.bottleneck
        return rng.normal(0, D**-0.5, (D, r)), np.zeros((r, D))

    def apply(self, layer, x, W_down, W_up):
        return layer(x) + relu(x @ W_down) @ (self.scale * W_up)


@dataclass
class MultiHeadAdapter(ParallelAdapter):
    """head_i + s · relu(x W_down⁽ⁱ⁾) W_up⁽ⁱ⁾        W_up = 0        He et al. 2022, table 1

    An adapter for each head, of `bottleneck` columns each.  W_o is linear, so what is added to its
    input is added to what it yields.  W_o is the frozen network's, also in a Chain with what
    changes it.
    """

    targets: str = r"attn$"  # which layers, by path: a regular expression

    def start(self, layer, rng):
        D, H, r = layer.width, layer.o.shape[0] // layer.d, self.bottleneck
        return rng.normal(0, D**-0.5, (D, H * r)), np.zeros((H * r, layer.d))

    def apply(self, layer, x, W_down, W_up):
        r, d = self.bottleneck, layer.d
        H = W_up.shape[-2] // r
        z = split_heads(relu(x @ W_down), H, r)  # (B, H, 1, T, r)
        heads = matmul(z, reshape(self.scale * W_up, (-1, H, 1, r, d)))
        return layer(x) + join_heads(heads) @ layer.o.W
