"""Modules and layers: objects whose attributes are tensors, modules, or lists of modules."""

import copy
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np

from . import backend
from .bfloat16 import to_bfloat16
from .functional import layer_norm, linear, rms_norm
from .ops import lookup, matmul, transpose
from .tensor import Tensor


def replace(thing, **changed):
    """Return a shallow copy of an object with the attributes `changed`."""
    other = object.__new__(type(thing))  # copy.copy takes 10 µs
    vars(other).update(vars(thing) | changed)
    return other


def size(thing) -> int:
    """Return the number of scalar parameters of a model or an adaptation."""
    return sum(p.data.size for p in thing.parameters())


def sizes(thing) -> Counter[str]:
    """Return {path of a layer: number of scalar parameters}; a shared one counts at its first."""
    found, seen = Counter(), set()
    for name, p in thing.named_parameters():
        found[name.rpartition(".")[0]] += 0 if id(p) in seen else p.data.size
        seen.add(id(p))
    return found


HABITS = {  # {what PyTorch has: what is written here}
    "eval": "dropout is on only where a generator is given, model(ids, γ, rng=rng)",
    "train": "give a generator for dropout, model(ids, γ, rng=rng), as Trainer does",
    "zero_grad": "optimizer.step() clears the gradients that it used",
    "requires_grad_": "a model is frozen, and an adaptation is trained",
    "state_dict": "named_parameters() has all tensors, and minipeft.save writes them",
    "load_state_dict": "use minipeft.load or minipeft.load_adaptation",
    "forward": "call it, model(ids, γ)",
    "generate": "use minipeft.generate(model, ids, γ)",
    "merge_and_unload": "use minipeft.merge(model, γ)",
    "save_pretrained": "use minipeft.save(thing, folder)",
    "cuda": 'use .to("cuda")',
    "cpu": 'use .to("cpu")',
    "half": "use .astype(np.float16)",
    "float": "use .astype(np.float32)",
    "double": "use .astype(np.float64)",
}


class Parameters:
    """Container of tensors: the base class of models and of adaptations.

    A subclass defines `named_parameters` and `map`.
    """

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (path, tensor); a tensor that is used at two paths is yielded twice."""
        raise NotImplementedError

    def map(self, f: Callable[[Tensor], Tensor]) -> Self:
        """Return a copy with f(t) in place of every tensor t; shared tensors stay shared."""
        raise NotImplementedError

    def __repr__(self):
        """Return the number of parameters, and their shapes by path; N is the number of a block."""
        rows = Counter(
            (re.sub(r"\bblocks\.\d+", "blocks.N", path).lstrip("."), t.shape)
            for path, t in self.named_parameters()
        )
        lines = [f"\n  {path} {shape} × {n}" for (path, shape), n in rows.items()]
        table = "".join(line.removesuffix(" × 1") for line in lines)
        return f"{self}: {size(self):,} parameters{table}" if rows else str(self)

    def __getattr__(self, name):
        hint = f": {HABITS[name]}" if name in HABITS else ""
        text = f"{type(self).__name__!r} object has no attribute {name!r}{hint}"
        raise AttributeError(text, name=name, obj=self)

    def parameters(self) -> list[Tensor]:
        """Return a list of all tensors, each once."""
        return list({id(t): t for _, t in self.named_parameters()}.values())

    def astype(self, dtype) -> Self:
        """Return a copy in another float type."""
        return self.map(lambda t: Tensor(t.data.astype(dtype), t.requires_grad))

    def to(self, device: str) -> Self:
        """Return a copy on `device`, "cpu" or "cuda"; for the errors see `backend.to`."""
        move = backend.to(device)
        return self.map(lambda t: Tensor(move(t.data), t.requires_grad))


@dataclass(frozen=True)
class Fingerprint:
    """Identity of a base model: an adaptation keeps it as `made_for`."""

    config: object
    network: type  # class of the model
    weights: str | None  # `Module.weights_checksum`
    folder: str | None = field(default=None, compare=False)  # that the model was loaded from
    pool: str | None = None  # of a Classifier


def same_weights(a: str | None, b: str | None) -> bool:
    """Return whether two checksums are of one model, or of it and a copy in half precision.

    Folders saved before version 0.2 have only the first, as float16.
    """
    return a == b or bool(a and b and {*a.split("-")} & {*b.split("-")})


TRUNK = re.compile(r"((en|de)coder\.)?(tokens|blocks)")  # paths of embeddings and blocks
CHECKSUMS: WeakKeyDictionary = WeakKeyDictionary()  # {model: its last checksum}


class Module(Parameters):
    """Layer or network."""

    config: Any  # Config of a network; a layer has none
    folder: str | None = None  # that a network was loaded from
    read_tokenizer: Callable[[], Any] | None = None  # of a network
    path = ""  # name of the module in its network, such as "blocks.0.attn.q"
    composite = False  # True: it is called with (x, forward), and calls forward(layer, x)

    def __str__(self):
        return type(self).__name__

    def modules(self, path="", seen=None) -> "Iterator[tuple[str, Module]]":
        """Yield (path, module) of this module and all inside it, once each, as they are defined."""
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

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of a network, None for none: read when it is needed, or as it was set."""
        return self.read_tokenizer and self.read_tokenizer()

    def tensors(self) -> dict[str, Tensor]:
        """Return {name: tensor} of this module, without those of the modules inside it."""
        return {name: t for name, t in vars(self).items() if isinstance(t, Tensor)}

    def named_parameters(self):
        for path, module in self.modules():
            for name, t in module.tensors().items():
                yield f"{path}.{name}", t

    @property
    def reference_array(self):
        """One of the arrays: all have its dtype and its device."""
        return next(t.data for _, t in self.named_parameters())

    dtype = property(lambda self: self.reference_array.dtype)

    def weights_checksum(self) -> str | None:
        """Return two checksums of embedding and blocks, "16 hexadecimal digits-16 others", or None.

        They read 64 numbers of each tensor, as float16 and as bfloat16: see `same_weights`.
        """
        trunk = (t for path, t in self.named_parameters() if TRUNK.match(path))
        heads = [backend.host(t.data[:64].reshape(-1)[:64]).astype("f4") for t in trunk]
        if not heads:
            return None
        with np.errstate(over="ignore"):
            x = np.concatenate(heads)
            halves = x.astype("f2"), to_bfloat16(x)
        return "-".join(hashlib.sha256(half.tobytes()).hexdigest()[:16] for half in halves)

    def fingerprint(self) -> Fingerprint:
        """Return what identifies this model in its adaptations."""
        CHECKSUMS[self] = weights = self.weights_checksum()
        return Fingerprint(self.config, type(self), weights, self.folder)

    def has_weights_of(self, base: Fingerprint) -> bool:
        """Return whether embedding and blocks, if there are any, are those of `base`.

        They are read only once.
        """
        if self not in CHECKSUMS:
            CHECKSUMS[self] = self.weights_checksum()
        here = CHECKSUMS[self]
        return None in (here, base.weights) or same_weights(here, base.weights)

    def to(self, device):
        moved = super().to(device)
        if self in CHECKSUMS:
            CHECKSUMS[moved] = CHECKSUMS[self]
        return moved

    def replace(self, **tensors: Tensor) -> Self:
        """Return a shallow copy of this layer in which `tensors` replace those of the same name."""
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
    """Return a float32 tensor of this shape drawn from N(0, std²)."""
    return Tensor((std * rng.standard_normal(shape)).astype(np.float32))


def full(value, *shape):
    """Return a float32 tensor of this shape filled with one value."""
    return Tensor(np.full(shape, value, np.float32))


class Linear(Module):
    """y = x W + b        W (I, O)   b (O,), if bias is True"""

    def __init__(self, I, O, rng, std=0.02, bias=True):
        self.W = normal(rng, std, I, O)
        if bias:
            self.b = full(0, O)

    shape = property(lambda self: self.W.shape)

    def __call__(self, x):
        return linear(x, self.W, self.b) if "b" in vars(self) else matmul(x, self.W)

    def product(self, x, A):
        """Return x A, for a matrix A (I, r) in place of W."""
        return matmul(x, A)

    def oriented(self, W):
        """Return W as (I, O), or a matrix (I, O) as W."""
        return W


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

    An id below 0 is a pseudo-token: here it gets row 0, which its adaptation replaces.
    """

    def __init__(self, V, D, rng, std=0.02):
        self.W = normal(rng, std, V, D)

    shape, oriented = Linear.shape, Linear.oriented

    def __call__(self, ids):
        return self.product(ids, self.W)

    def product(self, ids, A):
        """Return A[ids], for a matrix A (V, r) in place of W."""
        return lookup(A, np.maximum(ids, 0))


class TiedHead(Module):
    """z = x Wᵀ        W (V, D) of the embedding"""

    shape = property(lambda self: self.W.shape[::-1])
    product = Linear.product

    def __init__(self, embedding):
        self.W = embedding.W

    def __call__(self, x):
        return matmul(x, transpose(self.W))

    def oriented(self, W):
        return transpose(W)
