"""(IA)³: Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning Is Better and Cheaper …"."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation
from ..nn import Embedding
from ..ops import transpose
from ..patterns import matches


@dataclass
class IA3(Adaptation):
    """l_k ⊙ K,  l_v ⊙ V,  W₂ (l_ff ⊙ γ(W₁ x))        l = 1        Liu et al. 2022, §3.3"""

    targets: str = r"attn\.[kv]$|mlp\.down$"  # which layers, by path: a regular expression
    inputs: str = r"mlp\.down$"  # those of them of which what they read is scaled

    def reads(self, layer):
        return matches("inputs", self.inputs, layer.path)

    def start(self, layer, rng):
        I, O = layer.shape
        if self.reads(layer) and isinstance(layer, Embedding):
            raise ValueError(f"{layer.path} reads token ids, which can't be scaled: leave it out")
        return [np.ones((1, I if self.reads(layer) else O))]

    def apply(self, layer, x, l):
        return layer(x * l) if self.reads(layer) else layer(x) * l

    def weights(self, layer, l):
        if self.reads(layer):
            return {"W": transpose(l) * layer.W}
        return {name: t * l for name, t in layer.tensors().items()}  # the bias is scaled, too
