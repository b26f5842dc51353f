"""Safetensors: a header of JSON, which says of each tensor its type, shape and place, and bytes."""

import json
import math
import os
import re
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ..autograd.backend import host
from .json import TEXT, CheckpointError, brief, parsed, present

FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1} | {
    f"{sign}{8 * size}": size for sign in "IU" for size in (1, 2, 4, 8)
}


@dataclass
class Stored:
    """A tensor as a file has it: nothing of it is read before its numbers are asked for."""

    path: Path
    name: str
    dtype: str
    shape: tuple
    raw: np.ndarray

    def floating(self):
        """How its numbers lie in the file."""
        if self.dtype not in FLOATS:
            kinds = ", ".join(FLOATS)
            raise CheckpointError(f"{self.path}: {self.name} is {self.dtype}, not one of {kinds}")
        return FLOATS[self.dtype]

    def floats(self):
        """Its numbers, mapped from the disk; halves are widened to float32."""
        x = np.require(self.raw.view(self.floating()), requirements="A").reshape(self.shape)
        if self.dtype == "BF16":  # the upper half of a float32
            x = (x.astype(np.uint32) << 16).view(np.float32)
        if not np.isfinite(x).all():
            raise CheckpointError(f"{self.path}: {self.name} holds NaN or infinity")
        return x.astype(np.float32) if self.dtype == "F16" else x


def located(path, name, about):
    """Where a tensor lies, and its type and shape, which have to agree."""
    match about:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]}:
            whole = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
            whole = whole and len(shape) <= 8 and math.prod(filter(None, shape)) < 2**60
            good = whole and dtype in SIZES and name.isprintable()
            if good and math.prod(shape) * SIZES[dtype] == end - begin:
                return begin, end, name, dtype, tuple(shape)
    raise CheckpointError(f"{path}: {name!r:.200} can't be {brief(about)}")


def header(path, raw):
    """What a file says of its tensors, its metadata, and where its tensors begin."""
    length = int.from_bytes(raw[:8].tobytes(), "little")
    if not 2 <= length <= min(len(raw) - 8, TEXT):
        told = f"of its {len(raw):,} bytes the header would be {length:,}"
        raise CheckpointError(f"{path} is no whole safetensors file: {told}")
    said = parsed(f"the header of {path}", raw[8 : 8 + length].tobytes())
    metadata = said.field("__metadata__", {}, dict)
    if not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path}: __metadata__ must hold texts, not {brief(metadata)}")
    return {name: said[name] for name in said if name != "__metadata__"}, metadata, 8 + length


def stored(path):
    """{name: tensor} of one file, in which they lie end to end, and its metadata."""
    present(path)
    try:
        raw = np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{path} is no whole safetensors file: {e}") from None
    said, metadata, start = header(path, raw)
    found, data, at = {}, raw[start:], 0
    for begin, end, name, dtype, shape in sorted(located(path, *item) for item in said.items()):
        if begin != at:
            told = f"begins at byte {begin:,} of the data, but there is a tensor or a gap to {at:,}"
            raise CheckpointError(f"{path}: {name} {told}")
        found[name], at = Stored(path, name, dtype, shape, data[begin:end]), end
    if at != len(data):
        told = f"its tensors have {at:,} bytes, but {len(data):,} are there"
        raise CheckpointError(f"{path} is no whole safetensors file: {told}")
    return found, metadata


def shards(index):
    """{file: names of the tensors that the index puts there}"""
    found = {}
    for name, file in parsed(index).field("weight_map", {}, dict).items():
        if not (isinstance(file, str) and re.fullmatch(r"[\w.-]+\.safetensors", file)):
            told = (
                f"weight_map puts {name!r:.200} in {brief(file)}, not in a .safetensors beside it"
            )
            raise CheckpointError(f"{index}: {told}")
        found.setdefault(index.with_name(file), set()).add(name)
    return found


class Tensors(MutableMapping):
    """The tensors of a safetensors file, or of the shards that an index beside it names.

    called: the name here of a name in the file; None leaves the tensor out.
    dtype: what they all fit in, float32 or float64.
    """

    def __init__(self, path, called=lambda name: name):
        index = path.with_name(f"{path.name}.index.json")
        sharded = os.path.lexists(index) and not os.path.lexists(path)
        self.path, self.labelled_positions, self.there, self.metadata = path, set(), {}, {}
        self.dtype = np.dtype("f4")
        if sharded:
            self.path = index
            for file, names in shards(index).items():
                found, _ = stored(file)
                if odd := sorted(names ^ found.keys()):
                    told = f"{'has no' if odd[0] in names else 'has a'} {odd[0]!r:.200}"
                    raise CheckpointError(f"{file} {told}, unlike the weight_map of {index.name}")
                self.take(found, called)
        else:
            found, self.metadata = stored(path)
            self.take(found, called)

    def take(self, found, called):
        for name, tensor in found.items():
            if (key := called(name)) in self.there:
                told = f"{name} and {self.there[key].name} are both {key}"
                raise CheckpointError(f"{tensor.path}: {told}")
            if key is not None:
                self.there[key] = tensor
                self.dtype = np.dtype("f8") if tensor.dtype == "F64" else self.dtype

    def __getitem__(self, name):
        if isinstance(x := self.there[name], Stored):
            x = self.there[name] = x.floats()
        return x

    def __setitem__(self, name, x):
        self.there[name] = x

    def __delitem__(self, name):
        del self.there[name]

    def __iter__(self):
        return iter(self.there)

    def __len__(self):
        return len(self.there)

    @property
    def size(self):
        """How many numbers there are."""
        return sum(math.prod(x.shape) for x in self.there.values())

    def shape(self, name):
        """That of the tensor of this name, or None."""
        return self.there[name].shape if name in self else None

    def need(self, name, shape):
        """The tensor of this name, which has this shape."""
        found = self.shape(name)
        if found != shape:
            found = "missing" if found is None else found
            raise CheckpointError(
                f"{self.path}: {name} is {found}, but must be {shape}: is it of another model?"
            )
        self.labelled_positions.add(name)
        return self[name]

    def end(self):
        """An error if there is more than was asked for."""
        if more := ", ".join(sorted(set(self) - self.labelled_positions)[:4]):
            raise CheckpointError(f"{self.path}: no place for {more}: is it of another model?")


def floating(dtype):
    """The NumPy dtype of that name, if it is one that we write."""
    with suppress(TypeError):
        if np.dtype(dtype) in (np.float16, np.float32, np.float64):
            return np.dtype(dtype)
    raise CheckpointError(f"dtype={dtype}: there is float16, float32, float64")


def packed(tensors, metadata, dtype=None):
    """The bytes of a safetensors file, each array in its own float or all in this.

    Of the same arrays they are the same bytes.
    """
    dtype = None if dtype is None else floating(dtype)
    with np.errstate(over="ignore"):
        tensors = {name: np.ascontiguousarray(host(x), dtype) for name, x in tensors.items()}
    for name, x in tensors.items():
        if not np.isfinite(x).all():
            raise CheckpointError(f"{name} holds NaN or infinity as {x.dtype}, so it is not saved")
    content = save(tensors, {"format": "pt"} | metadata)
    start = 8 + int.from_bytes(content[:8], "little")
    said = json.loads(content[8:start])  # in an order that is another each time
    head = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([len(head).to_bytes(8, "little"), head, memoryview(content)[start:]])
