"""Fine-tuning of all weights, of some, or of a head alone."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation, trained


@dataclass
class FullFineTuning(Adaptation):
    """W' x, for every layer W x        W' = W        Howard & Ruder 2018; 003 §11.2.2

    γ is a copy of θ, and every layer is computed with it; `targets` may leave layers out.
    """

    targets: str = ""  # which layers, by path: a regular expression

    def attach(self, model, rng=None):
        """A tensor that two layers share (a tied head) has one copy, which they share."""
        own = {path: layer.tensors() for path, layer in self.places(model) if layer.tensors()}
        θ = {id(t): t for ts in own.values() for t in ts.values()}
        copies = {i: trained(np.atleast_2d(t.data).copy()) for i, t in θ.items()}
        at = {path: [copies[id(t)] for t in ts.values()] for path, ts in own.items()}
        return self.lay(at, model)

    def lay(self, at, model):
        layers = dict(model.modules())
        self.layer_names = {path: tuple(layers[path].tensors()) for path in at}
        return super().lay(at, model)

    def names(self, path):
        return self.layer_names[path]

    def apply(self, layer, x, *θ):
        return layer.replace(**self.weights(layer, *θ))(x)

    def weights(self, layer, *θ):
        return dict(zip(layer.tensors(), θ, strict=True))


@dataclass
class LayerNormTuning(FullFineTuning):
    """g' ⊙ (x - mean x)/√(var x + ε) + b'        g' = g, b' = b        Houlsby et al. 2019, §3.4"""

    targets: str = r"ln\d?$"  # which layers, by path: a regular expression


@dataclass
class Probe(FullFineTuning):
    """softmax(W pool(h))        W = 0, a copy of the head        Alain & Bengio 2016; 003 §11.2.1

    Alone it leaves the trunk as it is, so `pool(h)` may be computed once; in a Chain it is the
    head that another method trains beside it.
    """

    targets: str = r"^score$"

    def places(self, model):
        if found := super().places(model):
            return found
        raise ValueError(
            f"{self!r} trains the head of a classifier, and this model has none: bring examples "
            "with labels, or Classifier(model, classes)"
        )
