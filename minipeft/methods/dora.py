"""Weight-decomposed adaptation: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation"."""

from dataclasses import dataclass

import numpy as np

from ..backend import host
from ..ops import sqrt
from ..ops import sum as sum_over
from .lora import LoRA


@dataclass
class DoRA(LoRA):
    """m V / ‖V‖,  V = W₀ + (α/r) B A        B = 0, m = ‖W₀‖        Liu et al. 2024, eq. 5

    The norms are of what leads to each output, here of columns.  Their gradient is not left out,
    as §4.3 allows and PEFT does.
    """

    innermost = True

    def start(self, layer, rng):
        m = np.linalg.norm(host(layer.W.data), axis=0, keepdims=True)
        if not m.all():
            raise ValueError(f"DoRA divides by ‖W₀‖, which has a 0 at {layer.path}: leave it out")
        return *super().start(layer, rng), m

    def magnitude(self, layer, A, B, m):
        """m / ‖V‖, and V = W₀ + (α/r) B A"""
        V = super().weights(layer, A, B)["W"]
        return m / sqrt(sum_over(V * V, axis=-2)), V

    def apply(self, layer, x, A, B, m):
        b = layer.tensors().get("b", 0.0)
        times, _ = self.magnitude(layer, A, B, m)
        return (layer(x) - b + self.branch(layer, x, A, B)) * times + b

    def weights(self, layer, A, B, m):
        times, V = self.magnitude(layer, A, B, m)
        return {"W": V * times}
