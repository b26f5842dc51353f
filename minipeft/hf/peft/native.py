"""Minipeft's own format: a method's class and fields as JSON, and its parameters by their names.

The class is one of minipeft's, MINIPEFT_LORA …, or the reader's own, MINIPEFT_CUSTOM, which is then
passed to load_adaptation: nothing is imported because a file names it.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass

import numpy as np

from ... import methods as library
from ...adaptation.adaptation import Adaptation, parameter
from ...adaptation.chain import MethodChain
from ...adaptation.method import Method, NoMethod, tupled
from ...autograd.nn import replace
from ...methods import DoRA, PromptTuning, PseudoTokens, Reparametrised
from ...methods.prefix import Prefix
from ...storage.json import CheckpointError, Settings, parse_json, short_repr
from ...storage.renames import stored_name
from ...storage.safetensors import SafetensorsFile

CHAIN, CUSTOM = "MINIPEFT_CHAIN", "MINIPEFT_CUSTOM"
CLASSES = {
    f"MINIPEFT_{name.upper()}": c for name, c in vars(library).items() if is_dataclass(c)
} | {CHAIN: MethodChain}
CLASS_NAMES = {c: peft_type for peft_type, c in CLASSES.items()}
VIRTUAL_TOKENS = Prefix, PromptTuning, PseudoTokens
CHECKED = int, float, bool, str, tuple  # types of fields; others take any JSON value
MAX_DEPTH = 16  # of methods in methods


class NotInPeft(Exception):
    """PEFT has no format for an adaptation, which is then saved in minipeft's own."""


# -- methods


def method_to_json(method: Method) -> dict:
    """Return the class and the fields of a method."""
    if isinstance(method, MethodChain):
        return {"peft_type": CHAIN, "methods": [method_to_json(m) for m in method.methods]}
    cls = type(method)
    if cls is NoMethod:
        raise CheckpointError("PLAIN can't be saved: leave it out of the Chain")
    if not is_dataclass(cls) and vars(method):
        raise CheckpointError(
            f"{method!r} can't be saved, since only fields are: write @dataclass(frozen=True) in "
            f"front of class {cls.__name__}, and its attributes as fields"
        )
    values = {
        f.name: value_to_json(f"{cls.__name__}.{f.name}", getattr(method, f.name))
        for f in dataclass_fields(cls)
    }
    if cls in CLASS_NAMES:
        return {"peft_type": CLASS_NAMES[cls]} | values
    return {"peft_type": CUSTOM, "class": cls.__name__, "fields": values}


def dataclass_fields(cls) -> list:
    """Return the fields of a class that its constructor takes."""
    return [f for f in fields(cls) if f.init] if is_dataclass(cls) else []


def value_to_json(name, value):
    """Return the value of a field: JSON for a method; a number, a string, or a list of these."""
    if isinstance(value, Method):
        return method_to_json(value)
    if isinstance(value, (tuple, list)):
        return [value_to_json(name, v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise CheckpointError(
        f"{name}={short_repr(value)} can't be saved: a field may hold numbers, strings, tuples of "
        "these, or a method"
    )


def method_from_json(
    settings: Settings, known: Iterable[str] = (), custom: Iterable[type] = (), depth: int = 0
) -> Method:
    """Return the method that `method_to_json` described.

    known: other peft_types, for the error.  custom: classes of the reader's own.
    """
    if depth > MAX_DEPTH:
        raise CheckpointError(f"{settings.path}: methods are nested more than {MAX_DEPTH} deep")
    nested = lambda value: method_from_json(Settings(value, settings.path), (), custom, depth + 1)
    peft_type = settings.field("peft_type", None, str)
    if peft_type == CHAIN:
        return MethodChain(*map(nested, settings.field("methods", (), tuple)))
    if peft_type == CUSTOM:
        cls = custom_class(settings, custom)
        settings = Settings(settings.field("fields", {}, dict), settings.path)
    elif peft_type in CLASSES:
        cls = CLASSES[peft_type]
    else:
        raise CheckpointError(
            f"{settings.path}: peft_type={short_repr(peft_type)} is not supported, only "
            f"{', '.join([*known, *CLASSES, CUSTOM])}"
        )
    values = {}
    with as_checkpoint_error(settings.path):
        for f in dataclass_fields(cls):
            name = stored_name(f.name, settings)
            if settings.get(name) is not None:
                values[f.name] = value_from_json(settings, name, f.type, nested)
            elif f.default is f.default_factory is MISSING:
                raise CheckpointError(f"{settings.path}: the field {name} is missing")
        return cls(**values)


def custom_class(settings, custom):
    """Return the reader's own class that the settings name."""
    name = settings.field("class", "", str)
    classes = [c for c in custom if c.__name__ == name]
    if len(classes) > 1:
        raise ValueError(f"methods= has {len(classes)} classes of the name {name}: pass one")
    if classes:
        return classes[0]
    raise CheckpointError(
        f"{settings.path} was saved with a method of the class {short_repr(name)}, which is not "
        f"part of minipeft: pass that class, load_adaptation(folder, model, methods=[{name:.40}])"
    )


def value_from_json(settings, name, annotation, nested):
    """Return the value of a field, which must be of the annotated type."""
    value = settings[name]
    if annotation is Method or isinstance(value, dict) and annotation not in CHECKED:
        return nested(value)
    if annotation is tuple and isinstance(value, list) and {*map(type, value)} == {dict}:
        return tuple(map(nested, value))
    return settings.field(name, None, annotation) if annotation in CHECKED else tupled(value)


@contextmanager
def as_checkpoint_error(where):
    """Raise CheckpointError, naming the file, for a ValueError that its content causes."""
    try:
        yield
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: {error}") from error


def flatten(method: Method) -> Iterator[Method]:
    """Yield the parts of a method, in order, without Chains and reparametrisations."""
    if isinstance(method, MethodChain):
        for part in method.methods:
            yield from flatten(part)
    elif isinstance(method, Reparametrised):
        yield from flatten(method.method)
    else:
        yield method


def has_network(method: Method) -> bool:
    """Return whether a method, or a part of it, is a reparametrisation."""
    parts = method.methods if isinstance(method, MethodChain) else ()
    return isinstance(method, Reparametrised) or any(map(has_network, parts))


# -- parameters


class ZerosGenerator(np.random.Generator):
    """A generator whose numbers are 0, for parameters that a file then replaces.

    It makes no more than `limit` of them, so that what a small file says takes little memory.
    """

    def __init__(self, limit: int):
        super().__init__(np.random.PCG64(0))
        self.left = limit

    def zeros(self, size, dtype=float):
        self.left -= math.prod(np.atleast_1d(1 if size is None else size).tolist())
        if self.left < 0:
            raise ValueError("its parameters would be far larger than the file")
        return np.zeros(() if size is None else size, dtype)

    def normal(self, loc=0.0, scale=1.0, size=None):
        return self.zeros(size)

    def uniform(self, low=0.0, high=1.0, size=None):
        return self.zeros(size)

    def standard_normal(self, size=None, *_, **__):
        return self.zeros(size)

    random = standard_normal

    def integers(self, low, high=None, size=None, *_, **__):
        return self.zeros(size, int)

    def choice(self, a, size=None, *_, **__):
        return self.zeros(size, int)


class OneToken:
    """A tokenizer that encodes any text as the token 0, for starts that a file then replaces."""

    ids = (0,)

    def encode(self, text: str, add_special_tokens: bool = True) -> "OneToken":
        return self


def read_parameters(method: Method, source, file: SafetensorsFile, model) -> Adaptation:
    """Return the method attached to the model, with the parameters in the file.

    source: the path of the file that describes the method, for errors.
    """
    lengths = [m.length or 0 for m in flatten(method) if isinstance(m, VIRTUAL_TOKENS)]
    if max(lengths, default=0) > file.size:  # copies of words are made without the generator
        raise CheckpointError(f"{file.path}: {method!r} would be far larger than the file")
    with as_checkpoint_error(f"{source} does not fit this model"):
        zeros = ZerosGenerator(2**16 + 8 * file.size)
        adaptation = method.attach(replace(model, tokenizer=OneToken()), zeros)
    shared = parse_json(file.metadata.get("shared", "{}"), file.path)
    names, read, new = {*file, *shared}, {}, {}
    for name, p in adaptation.named_parameters(frozen=True):
        name = stored_name(name, names)
        name = shared.field(name, name, str)
        if name not in read:
            read[name] = parameter(file.require(name, p.shape).astype(p.dtype))
        new[id(p)] = read[name]
    file.check_all_used()
    return check_norms(adaptation.replace_parameters(new), model, file.path)


def check_norms(γ: Adaptation, model, path) -> Adaptation:
    """Return γ; raise CheckpointError if DoRA divides by a norm that is 0, as PEFT's would too."""
    layers = dict(model.modules())
    leaves = [*γ.leaves()]
    leaves += [m for leaf in leaves for a in getattr(leaf, "adapters", ()) for m in a.leaves()]
    for leaf in leaves:
        for place, ps in leaf.at.items() if isinstance(leaf.method, DoRA) else ():
            with np.errstate(all="ignore"):
                scale, _ = leaf.method.magnitude(layers[place].to("cpu"), **ps)
            if not np.isfinite(scale.data).all():
                raise CheckpointError(
                    f"{path}: DoRA divides by the norms of the columns of W₀ + (α/r) B A, and that "
                    f"of column {np.argmin(np.isfinite(scale.data))} is 0 or infinite at {place}: "
                    "train it without that layer"
                )
    return γ
