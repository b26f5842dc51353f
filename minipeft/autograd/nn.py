"""Modules and layers: objects whose attributes are tensors, modules, or lists of modules."""

import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from . import backend
from .functional import layer_norm, linear, rms_norm
from .ops import lookup, matmul, transpose
from .tensor import Tensor


def replace(thing, **changed):
    """Return a shallow copy of an object with these attributes changed."""
    other = copy.copy(thing)
    vars(other).update(changed)
    return other


def size(thing) -> int:
    """Return the number of parameters, as numbers, of a model or an adaptation."""
    return sum(p.data.size for p in thing.parameters())


class Parameters:
    """A container of tensors: what a model and an adaptation have in common.

    A subclass defines `named_parameters` and `map`.
    """

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (path, tensor); a tensor that is used at two paths comes twice."""
        raise NotImplementedError

    def map(self, f: Callable[[Tensor], Tensor]) -> Self:
        """Return a copy with f(t) in place of every tensor t; shared tensors stay shared."""
        raise NotImplementedError

    def parameters(self) -> list[Tensor]:
        """Return every tensor once."""
        return list({id(t): t for _, t in self.named_parameters()}.values())

    def astype(self, dtype) -> Self:
        """Return a copy in another float type."""
        return self.map(lambda t: Tensor(t.data.astype(dtype), t.requires_grad))

    def to(self, device: str) -> Self:
        """Return a copy on "cpu" or "cuda"."""
        move = backend.to(device)
        return self.map(lambda t: Tensor(move(t.data), t.requires_grad))


@dataclass(frozen=True)
class Fingerprint:
    """What identifies a base model."""

    config: object
    network: type
    weights: str | None  # checksum of the trunk


class Module(Parameters):
    """A layer or a network."""

    config: Any  # of a network
    path = ""  # where the module is in its network, as "blocks.0.attn.q"
    composite = False  # called with (x, forward), through which it calls the layers inside it

    def modules(self, path="", seen=None) -> "Iterator[tuple[str, Module]]":
        """Yield (path, module), once each, in order of definition."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield path, self
        for name, value in vars(self).items():
            inside = enumerate(value) if isinstance(value, list) else [("", value)]
            for i, child in inside:
                if isinstance(child, Module):
                    at = ".".join(str(s) for s in (path, name, i) if s != "")
                    yield from child.modules(at, seen)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of this module itself, by name."""
        return {name: t for name, t in vars(self).items() if isinstance(t, Tensor)}

    def named_parameters(self):
        for path, module in self.modules():
            for name, t in module.tensors().items():
                yield f"{path}.{name}", t

    @property
    def reference_array(self):
        """One of the arrays: it has the dtype and the device of them all."""
        return next(t.data for _, t in self.named_parameters())

    dtype = property(lambda self: self.reference_array.dtype)

    def weights_checksum(self) -> str | None:
        """Return a short checksum of the trunk, None without one; float16 does not change it."""
        trunk = (t for path, t in self.named_parameters() if path.startswith(("tokens", "blocks")))
        with np.errstate(over="ignore"):
            heads = [backend.host(t.data.reshape(-1)[:64]).astype("f4").astype("f2") for t in trunk]
        return hashlib.sha256(np.concatenate(heads).tobytes()).hexdigest()[:16] if heads else None

    def fingerprint(self) -> Fingerprint:
        """Return what an adaptation of this model keeps of it."""
        return Fingerprint(self.config, type(self), self.weights_checksum())

    def replace(self, **tensors: Tensor) -> Self:
        """Return this layer with other tensors."""
        return replace(self, **tensors)

    def map(self, f):
        return copy.deepcopy(self, {id(t): f(t) for t in self.parameters()}).freeze()

    def freeze(self) -> Self:
        """Set the path of every module and make all arrays read-only."""
        for path, module in self.modules():
            module.path = path
        for t in self.parameters():
            backend.seal(t.data)
        return self


def normal(rng, std, *shape):
    """Return a float32 tensor drawn from N(0, std²)."""
    return Tensor((std * rng.standard_normal(shape)).astype(np.float32))


def full(value, *shape):
    """Return a float32 tensor filled with one value."""
    return Tensor(np.full(shape, value, np.float32))


class Linear(Module):
    """y = x W + b        W (I, O)   b (O,), or none"""

    def __init__(self, I, O, rng, std=0.02, bias=True):
        self.W = normal(rng, std, I, O)
        if bias:
            self.b = full(0, O)

    shape = property(lambda self: self.W.shape)

    def __call__(self, x):
        return linear(x, self.W, self.b) if "b" in vars(self) else matmul(x, self.W)

    def product(self, x, A):
        """Return x A, for a matrix A in place of W."""
        return matmul(x, A)


class LayerNorm(Module):
    """y = g n + b,  n = (x - mean) / √(var + ε)        g, b (D,)        Ba et al. 2016, eq. 4"""

    def __init__(self, D, eps):
        self.g, self.b, self.eps = full(1, D), full(0, D), eps

    def __call__(self, x):
        return layer_norm(x, self.g, self.b, eps=self.eps)


class RMSNorm(Module):
    """y = g n,  n = x / √(mean x² + ε)        g (D,)        Zhang & Sennrich 2019, eq. 4"""

    def __init__(self, D, eps):
        self.g, self.eps = full(1, D), eps

    def __call__(self, x):
        return rms_norm(x, self.g, eps=self.eps)


class Embedding(Module):
    """y = W[ids]        W (V, D)

    An id ≥ V is a pseudo-token of an adaptation, which replaces its row.
    """

    def __init__(self, V, D, rng, std=0.02):
        self.W = normal(rng, std, V, D)

    shape = property(lambda self: self.W.shape)

    def __call__(self, ids):
        return self.product(ids, self.W)

    def product(self, ids, A):
        """Return A[ids], for a matrix A in place of W."""
        return lookup(A, np.where(ids < A.shape[-2], ids, 0))


class TiedHead(Module):
    """z = x Wᵀ        W (V, D) of the embedding"""

    def __init__(self, embedding):
        self.W = embedding.W

    def __call__(self, x):
        return matmul(x, transpose(self.W))
