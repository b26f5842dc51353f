"""Biases alone: Ben Zaken et al. 2022, "BitFit: Simple Parameter-efficient Fine-tuning …"."""

import zlib
from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation, listed
from ..backend import host
from ..ops import scatter

SUBSETS = {  # as the authors name them
    "query": r"attn\.q$",
    "key": r"attn\.k$",
    "value": r"attn\.v$",
    "attention": r"attn\.o$",
    "intermediate": r"mlp\.up$",
    "output": r"mlp\.down$",
    "norms": r"ln\d?$",
}


def biases(*names):
    """A pattern for some of these: BitFit(biases("query", "intermediate")), table 3's best two."""
    unknown = [name for name in names if name not in SUBSETS]
    if unknown or not names:
        raise ValueError(f"no biases {unknown or 'named'}: there is {', '.join(SUBSETS)}")
    return "|".join(SUBSETS[name] for name in names)


@dataclass
class BitFit(Adaptation):
    """b + δ, for every bias b        δ = 0        Ben Zaken et al. 2022, §3

    Without a prefix the gradient of a key's bias is 0: softmax does not see it.
    """

    targets: str = ""  # which layers, by path: a regular expression

    def places(self, model):
        found = super().places(model)
        if found and not any("b" in layer.tensors() for _, layer in found):
            raise ValueError(
                f"{self!r} trains biases, and there is none at {listed(p for p, _ in found)}"
            )
        return [(path, layer) for path, layer in found if "b" in layer.tensors()]

    def start(self, layer, rng):
        return [np.zeros((1, layer.b.shape[-1]))]

    def apply(self, layer, x, δ):
        return layer(x) + δ

    def weights(self, layer, δ):
        return {"b": layer.b + δ}


@dataclass
class BiasTuning(BitFit):
    """W x + b'        b' = b        Ben Zaken et al. 2022, §3

    BitFit that keeps the new biases, not what was added to the old: PEFT's LoRA has it so.
    """

    def start(self, layer, rng):
        return [host(layer.b.data)[None]]

    def apply(self, layer, x, b):
        return layer(x) + (b - layer.b)

    def weights(self, layer, b):
        return {"b": b}


@dataclass
class RandomWeights(BitFit):
    """W + δ, at as many random places as b has        δ = 0        Ben Zaken et al. 2022, §4

    The control that tells whether biases are special.  It leaves out a head, whose W is often the
    embedding's: of a masked language model BitFit trains that bias too.
    """

    targets: str = r"^(?!head$)"  # which layers, by path: a regular expression
    innermost = True
    choice: int = 1  # of these places, among all there could be

    def at_random(self, layer, shape):
        """Places (N, 2) in W, none twice; the same ones whenever they are asked for."""
        rng = np.random.default_rng([self.choice, zlib.crc32(layer.path.encode())])
        places = rng.choice(np.prod(shape), layer.b.shape[-1], replace=False)
        return np.stack(np.divmod(places, shape[1]), axis=1)

    def apply(self, layer, x, δ):
        return layer.replace(**self.weights(layer, δ))(x)

    def weights(self, layer, δ):
        ((name, W),) = [(name, t) for name, t in layer.tensors().items() if name != "b"]
        shape = np.atleast_2d(W.data).shape  # a norm has one row, g
        return {name: W + scatter(δ, self.at_random(layer, shape), shape)}
