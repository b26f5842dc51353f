"""Fine-tuning of all weights, of some, or of a head alone."""

import re
from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation, trained


@dataclass
class FullFineTuning(Adaptation):
    """γ = a copy of θ, and every layer computed with it: W x → W' x        003 §11.2.2

    `targets` may leave layers out: r"ln\\d?$" is LayerNorm tuning.
    """

    targets: str = ""

    def attach(self, model, rng=None):
        """A tensor that two layers share (a tied head) has one copy, which they share."""
        self.layer_names = {path: tuple(layer.tensors()) for path, layer in model.modules()}
        copies = {id(t): trained(np.atleast_2d(t.data).copy()) for t in model.parameters()}
        own = {
            path: [copies[id(t)] for t in layer.tensors().values()]
            for path, layer in model.modules()
        }
        return self.lay(
            {path: ts for path, ts in own.items() if ts and re.search(self.targets, path)}, model
        )

    def names(self, path):
        return self.layer_names[path]

    def apply(self, layer, x, *θ):
        return layer.replace(**self.weights(layer, *θ))(x)

    def weights(self, layer, *θ):
        return dict(zip(layer.tensors(), θ, strict=True))


@dataclass
class Probe(FullFineTuning):
    """p(y|x) = softmax(W pool(h)), θ frozen        003 §11.2.1

    Alone it leaves the trunk as it is, so `pool(h)` may be computed once; in a Chain it is the
    head that another method trains beside it.
    """

    targets: str = r"^score$"
