"""Methods at one layer with random parameters: the arguments of an equation, and the output."""

from collections.abc import Callable

import numpy as np

from ..adaptation.adaptation import parameter
from ..adaptation.method import Method
from ..autograd.arraylike import array_of
from ..autograd.nn import Embedding, Linear
from ..autograd.tensor import Tensor
from .cases import networks


def filled(layer, rng):
    """Return a layer in float64 with random numbers."""
    return layer.map(lambda t: Tensor(rng.normal(0, 0.7, t.shape)))


def parameters(method: Method, layer, rng) -> dict:
    """Return {name: random array} of the shapes of the method's start at a layer."""
    start = method.start(layer, rng)
    return {name: rng.normal(0, 0.7, np.shape(a)) for name, a in start.items()}


def tensors(arrays: dict) -> dict:
    """Return {name: tensor}, trained parameters."""
    return {name: parameter(a) for name, a in arrays.items()}


def of_layer(path: str) -> Callable:
    """Return a function: (method, rng) -> arguments, and a function for the method's output."""

    def arguments_and_output(method, rng):
        layer = filled(Linear(6, 5, rng), rng)
        layer.path = path
        at, x = parameters(method, layer, rng), rng.normal(size=(4, 6))
        arguments = {"x": x, "W": layer.W.data, "b": layer.b.data, **at}
        if hasattr(method, "alpha"):
            arguments["alpha"] = method.alpha
        y = lambda: method.apply(layer, Tensor(x[None]), **tensors(at))
        return arguments, lambda: array_of(y())[0]

    return arguments_and_output


def of_output(path: str) -> Callable:
    """Return the same of a method that changes the output h of a layer; its input is h/2."""

    def arguments_and_output(method, rng):
        layer = Linear(6, 6, rng, bias=False).map(lambda t: Tensor(2 * np.eye(6)))
        layer.path = path
        at, h = parameters(method, layer, rng), rng.normal(size=(4, 6))
        y = lambda: method.apply(layer, Tensor(h[None] / 2), **tensors(at))
        return {"h": h, **at}, lambda: array_of(y())[0]

    return arguments_and_output


def of_prompt(method: Method, rng):
    """Return the same of virtual tokens in front of embedded words."""
    layer = filled(Embedding(9, 6, rng), rng)
    at, X = parameters(method, layer, rng), rng.normal(size=(4, 6))

    def output():
        (P,) = method.prepend(layer, **tensors(at))
        return np.concatenate([array_of(P), X])

    return {"X": X, **at}, output


def of_prefix(attend: Callable) -> Callable:
    """Return the same of keys and values in front of those of an attention, for one head."""

    def arguments_and_output(method, rng):
        layer = networks()["GPT-2"].blocks[0].attn
        at = parameters(method, layer, rng)
        q, K, V = rng.normal(0, 0.7, (3, 5, layer.k.shape[1]))
        rows = lambda: map(array_of, method.prepend(layer, **tensors(at)))
        return {"q": q, "K": K, "V": V, **at}, lambda: attend(q, K, V, *rows())

    return arguments_and_output
