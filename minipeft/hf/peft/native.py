"""Adaptations in our own names: their fields as JSON, their tensors as `named_parameters` says."""

import json
import math
from dataclasses import fields, is_dataclass

import numpy as np

from ... import methods
from ...adaptation.adaptation import parameter
from ...adaptation.chain import MethodChain
from ...adaptation.method import Method
from ...methods import Reparametrised
from ...storage.json import CheckpointError, Settings, parsed


class OnlyOurs(Exception):
    """PEFT has no form for an adaptation, so it gets ours."""


def ours(c):
    return f"MINIPEFT_{c.__name__.upper()}"


CLASSES = {ours(c): c for c in vars(methods).values() if is_dataclass(c)} | {
    "MINIPEFT_CHAIN": MethodChain
}
NAMES = {c: name for name, c in CLASSES.items()}


def described(γ):
    """Its class and fields."""
    if type(γ) not in NAMES:
        raise CheckpointError(f"{γ!r} can't be saved, only {', '.join(CLASSES)}")
    told = {"peft_type": NAMES[type(γ)]}
    if isinstance(γ, MethodChain):
        return told | {"methods": [described(m) for m in γ.methods]}
    for f in fields(γ):
        value = getattr(γ, f.name)
        told[f.name] = described(value) if f.type is Method else value
    return told


def made(settings, others=()):
    """What `described` told of, attached to nothing.  others: kinds that are read elsewhere."""
    inner = lambda said: made(Settings(said, settings.path))
    kind = settings.field("peft_type", None, str)
    if kind not in CLASSES:
        known = f"only {', '.join([*others, *CLASSES])}"
        raise CheckpointError(f"{settings.path}: peft_type={kind!r} is not supported, {known}")
    if kind == "MINIPEFT_CHAIN":
        return MethodChain(*map(inner, settings.field("methods", (), tuple)))
    given = {}
    for f in fields(CLASSES[kind]):
        nested = f.type is Method
        value = settings.field(f.name, f.default, dict if nested else f.type)
        given[f.name] = inner(value) if nested else value
    return CLASSES[kind](**given)


def named(γ):
    """Its tensors, each once; and as metadata, which other names are those of a shared one."""
    names, tensors, again = {}, {}, {}
    for name, p in γ.named_parameters():
        if (first := names.setdefault(id(p), name)) == name:
            tensors[name] = p.data
        else:
            again[name] = first
    return tensors, {"shared": json.dumps(again)}


class Bounded:
    """In place of a generator: zeros, and of them no more than a file can fill."""

    def __init__(self, most):
        self.left = most

    def normal(self, low, high, size):
        self.left -= math.prod(np.atleast_1d(size).tolist())
        if self.left < 0:
            raise ValueError("it would be far larger than its file")
        return np.zeros(size)

    uniform = normal

    def integers(self, low, high, size):
        return self.normal(low, high, size).astype(int)

    def choice(self, population, size, replace):
        return self.integers(0, population, size)


def filled(γ, file, model):
    """γ attached to the model, with the tensors of the file."""
    γ = γ.attach(model, Bounded(2**16 + 8 * file.size))
    first, new, at = parsed(file.path, file.metadata.get("shared", "{}")), {}, {}
    for place, p in γ.named_parameters():
        name = first.get(place, place)
        x = file.need(name, p.shape)
        at[id(p)] = new[name] = new.get(name) or parameter(x.astype(p.dtype))
    file.end()
    return γ.replace_parameters(at)


def has_encoder(γ):
    inner = γ.methods if isinstance(γ, MethodChain) else ()
    return isinstance(γ, Reparametrised) or any(map(has_encoder, inner))
