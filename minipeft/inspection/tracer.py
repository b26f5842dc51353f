"""An adaptation that records what each layer reads and returns, under any other adaptation."""

import linecache
import re
from collections.abc import Callable
from inspect import unwrap
from pathlib import Path
from typing import Any, NamedTuple

from ..adaptation.chain import Chain, LayerProxy
from ..autograd.nn import replace

PACKAGE = Path(__file__).parents[1]


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


def docstring_of(thing) -> tuple[str, str]:
    """Return the equation and the paper that the first line of a docstring has.

    At least four spaces separate its parts.  Without a docstring, the name is the equation; without
    a part that has a year, the paper is "".
    """
    equation, *rest = re.split(r" {4,}", (thing.__doc__ or thing.__name__).strip().split("\n")[0])
    return equation, rest[-1] if rest and re.search(r"\b\d{4}", rest[-1]) else ""


def place_of(function: Callable, text: str = "def ") -> tuple[str, int]:
    """Return the file of a function, and the first of its lines that has a text.

    A file of the library is named from its root: minipeft/methods/lora.py.
    """
    code = unwrap(function).__code__
    lines, start = linecache.getlines(code.co_filename), code.co_firstlineno
    line = next((n for n, s in enumerate(lines[start - 1 :], start) if text in s), start)
    path = Path(code.co_filename)
    inside = path.is_relative_to(PACKAGE)
    return (path.relative_to(PACKAGE.parent) if inside else path).as_posix(), line
