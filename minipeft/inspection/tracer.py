"""An adaptation that records what each layer reads and returns, under any other adaptation."""

from typing import Any, NamedTuple

from ..adaptation.chain import Chain, LayerProxy
from ..autograd.nn import replace


class Call(NamedTuple):
    """Call of a layer in a forward pass."""

    layer: Any  # the frozen layer, in a LayerProxy if it is composite
    x: Any  # its input
    base: Any  # the output of the frozen layer for x
    y: Any  # the output of the adapted layer: the same tensor if it is not adapted
    forward: Any  # the Forward of a composite layer


class Tracer(Chain):
    """Adaptation that changes nothing of another one, γ, and records every call of a layer.

    calls: {path: Call}, in the order in which the layers returned.
    """

    shared = False  # no row of a prompt is computed beforehand

    def __init__(self, γ):
        super().__init__(γ)
        self.calls = {}

    def adapts(self, path):
        return True

    def map_parts(self, f):
        return replace(self, parts=tuple(map(f, self.parts)))  # with the same `calls`

    def __call__(self, layer, x):
        # the proxy calls layer(x, forward), so this function gets the Forward
        forward = layer.call(lambda x, forward: forward, x) if layer.composite else None
        base = layer(x)
        once = LayerProxy(layer, lambda layer, z: base if z is x else layer(z))
        y = super().__call__(once, x)
        self.calls[layer.path] = Call(layer, x, base, y, forward)
        return y


class Recall:
    """Forward that, in place of calling a layer, returns its recorded output."""

    def __init__(self, forward, calls):
        self.forward, self.calls = forward, calls

    def __call__(self, layer, x):
        return self.calls[layer.path].y

    def __getattr__(self, name):
        return getattr(self.forward, name)
