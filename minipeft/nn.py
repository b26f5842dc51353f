"""Layers and networks: objects whose attributes are tensors, layers, or lists of layers."""

import copy
import hashlib
from dataclasses import dataclass

import numpy as np

from . import backend
from .ops import layer_norm, linear, lookup, matmul, rms_norm, transpose
from .tensor import Tensor


def but(thing, **changed):
    """The thing, but with these attributes: a copy that shares all the rest."""
    other = copy.copy(thing)
    vars(other).update(changed)
    return other


def size(thing):
    """How many numbers the parameters of a model or an adaptation hold."""
    return sum(p.data.size for p in thing.parameters())


@dataclass(frozen=True)
class Fingerprint:
    """One base model among others."""

    config: object
    network: type
    weights: str | None  # checksum of its trunk


class Module:
    path = ""  # where it stands in its network
    inner = False  # a sub-layer: it asks `read` for the layers inside it

    def modules(self, path="", seen=None):
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

    def tensors(self):
        """The layer's own, by name."""
        return {name: t for name, t in vars(self).items() if isinstance(t, Tensor)}

    def named_parameters(self):
        """Yield (path, tensor); a tensor that two layers share (a tied head) comes twice."""
        for path, module in self.modules():
            for name, t in module.tensors().items():
                yield f"{path}.{name}", t

    def parameters(self):
        """Every tensor once."""
        return list({id(t): t for _, t in self.named_parameters()}.values())

    @property
    def like(self):
        """One of its arrays: they say which float it computes in, and where."""
        return next(t.data for _, t in self.named_parameters())

    dtype = property(lambda self: self.like.dtype)

    def mark(self):
        """A short name for the numbers of its trunk, if any: equal for a copy, also in halves."""
        trunk = (t for path, t in self.named_parameters() if path.startswith(("tokens", "blocks")))
        with np.errstate(over="ignore"):
            own = [backend.host(t.data.reshape(-1)[:64]).astype("f4").astype("f2") for t in trunk]
        return hashlib.sha256(np.concatenate(own)).hexdigest()[:16] if own else None

    def fingerprint(self):
        """What an adaptation of it is made for."""
        return Fingerprint(self.config, type(self), self.mark())

    def replace(self, **tensors):
        """This layer with other tensors."""
        return but(self, **tensors)

    def map(self, f):
        """The same network with the tensor f(t) for every t; one that layers share stays one."""
        return copy.deepcopy(self, {id(t): f(t) for t in self.parameters()}).frozen()

    def astype(self, dtype):
        return self.map(lambda t: Tensor(t.data.astype(dtype)))

    def to(self, device):
        """The same network on "cpu" or "cuda"."""
        move = backend.to(device)
        return self.map(lambda t: Tensor(move(t.data)))

    def frozen(self):
        """Tell every layer its path, and make its arrays read-only."""
        for path, module in self.modules():
            module.path = path
        for t in self.parameters():
            backend.seal(t.data)
        return self


def normal(rng, std, *shape):
    return Tensor((std * rng.standard_normal(shape)).astype(np.float32))


def full(value, *shape):
    return Tensor(np.full(shape, value, np.float32))


class Linear(Module):
    """y = x W + b        W (I, O)   b (O,), or none"""

    def __init__(self, rng, I, O, std=0.02, bias=True):
        self.W = normal(rng, std, I, O)
        if bias:
            self.b = full(0, O)

    shape = property(lambda self: self.W.shape)

    def __call__(self, x):
        return linear(x, self.W, self.b) if "b" in vars(self) else matmul(x, self.W)

    def product(self, x, A):
        """x A, for another matrix A in place of W"""
        return matmul(x, A)


class Norm(Module):
    """LayerNorm        g, b (D,)"""

    def __init__(self, D, eps):
        self.g, self.b, self.eps = full(1, D), full(0, D), eps

    def __call__(self, x):
        return layer_norm(x, self.g, self.b, eps=self.eps)


class RMSNorm(Module):
    """Norm without centre and bias        g (D,)"""

    def __init__(self, D, eps):
        self.g, self.eps = full(1, D), eps

    def __call__(self, x):
        return rms_norm(x, self.g, eps=self.eps)


class Embedding(Module):
    """Row ids[b, t] of W        W (V, D)

    An id of V or more is a pseudo-token of some adaptation, which puts a row of its own there.
    """

    def __init__(self, rng, V, D, std=0.02):
        self.W = normal(rng, std, V, D)

    shape = property(lambda self: self.W.shape)

    def __call__(self, ids):
        return self.product(ids, self.W)

    def product(self, ids, A):
        """The same rows of another matrix A"""
        return lookup(A, np.where(ids < A.shape[-2], ids, 0))


class Tied(Module):
    """The embedding read backwards, with the same W: z = x Wᵀ"""

    def __init__(self, embedding):
        self.W = embedding.W

    def __call__(self, x):
        return matmul(x, transpose(self.W))
