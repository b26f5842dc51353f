"""Safetensors files: a JSON header with type, shape and offsets of each tensor, then the data.

Files are untrusted: anything malformed raises CheckpointError naming the file and the tensor.
"""

import json
import math
import os
import re
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ..adaptation.adaptation import Adaptation
from ..autograd.backend import host
from ..autograd.bfloat16 import from_bfloat16, to_bfloat16
from .json import MAX_JSON_BYTES, CheckpointError, check_file, parse_json, read_json, short_repr

FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
ITEM_SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1} | {
    f"{sign}{8 * size}": size for sign in "IU" for size in (1, 2, 4, 8)
}
DTYPES = "float16", "bfloat16", "float32", "float64"  # that are written


@dataclass
class StoredTensor:
    """A tensor in a file.  Its numbers stay on the disk until `read` is called."""

    path: Path
    name: str
    dtype: str
    shape: tuple
    data: np.ndarray  # bytes, mapped from the disk

    def number_format(self) -> str:
        """Return the NumPy format of its numbers; raise CheckpointError if they are not floats."""
        if self.dtype not in FLOATS:
            known = ", ".join(FLOATS)
            raise CheckpointError(f"{self.path}: {self.name} is {self.dtype}, not one of {known}")
        return FLOATS[self.dtype]

    def read(self) -> np.ndarray:
        """Return its numbers, mapped from the disk; half precision is widened to float32."""
        x = np.require(self.data.view(self.number_format()), requirements="A").reshape(self.shape)
        x = from_bfloat16(x) if self.dtype == "BF16" else x
        if not np.isfinite(x).all():
            raise CheckpointError(f"{self.path}: {self.name} holds NaN or infinity")
        return x.astype(np.float32) if self.dtype == "F16" else x


def check_entry(path, name, entry):
    """Return (begin, end, name, dtype, shape) of a tensor's header entry, which must be valid."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [begin, end]}:
            integers = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
            small = integers and len(shape) <= 8 and math.prod(filter(None, shape)) < 2**60
            valid = small and dtype in ITEM_SIZES and name.isprintable()
            if valid and math.prod(shape) * ITEM_SIZES[dtype] == end - begin:
                return begin, end, name, dtype, tuple(shape)
    raise CheckpointError(
        f"{path}: the header entry of {name!r:.200} is not valid: {short_repr(entry)}"
    )


def read_header(path, raw):
    """Return the entries of the tensors, the metadata, and the offset at which the data begins."""
    length = int.from_bytes(raw[:8].tobytes(), "little")
    if not 2 <= length <= min(len(raw) - 8, MAX_JSON_BYTES):
        raise CheckpointError(
            f"{path} is not a valid safetensors file: its size is {len(raw):,}, and its first 8 "
            f"bytes announce a header of {length:,}"
        )
    header = parse_json(raw[8 : 8 + length].tobytes(), f"the header of {path}")
    metadata = header.field("__metadata__", {}, dict)
    if not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path}: __metadata__ must hold strings, not {short_repr(metadata)}")
    return {name: header[name] for name in header if name != "__metadata__"}, metadata, 8 + length


def open_file(path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Return {name: tensor} of one file, whose tensors must lie end to end, and its metadata."""
    check_file(path)
    try:
        raw = np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a valid safetensors file: {error}") from None
    entries, metadata, start = read_header(path, raw)
    tensors, data, offset = {}, raw[start:], 0
    for begin, end, name, dtype, shape in sorted(check_entry(path, *e) for e in entries.items()):
        if begin != offset:
            raise CheckpointError(
                f"{path}: {name} begins at byte {begin:,} of the data, but must begin at "
                f"{offset:,}, where the tensor before it ends"
            )
        tensors[name] = StoredTensor(path, name, dtype, shape, data[begin:end])
        offset = end
    if offset != len(data):
        raise CheckpointError(
            f"{path} is not a valid safetensors file: its tensors take {offset:,} bytes, and there "
            f"are {len(data):,}"
        )
    return tensors, metadata


def read_index(path: Path) -> dict[Path, set[str]]:
    """Return {file: names of its tensors} of an index of shards."""
    shards = {}
    for name, file in read_json(path).field("weight_map", {}, dict).items():
        if not (isinstance(file, str) and re.fullmatch(r"[\w.-]+\.safetensors", file)):
            raise CheckpointError(
                f"{path}: weight_map puts {name!r:.200} in {short_repr(file)}, which is not a "
                ".safetensors file of the same folder"
            )
        shards.setdefault(path.with_name(file), set()).add(name)
    return shards


class SafetensorsFile(MutableMapping):
    """The arrays of a safetensors file, by name, or of the shards that PATH.index.json lists.

    rename: maps a name in the file to a key here, or to None to leave the tensor out.
    dtype: float64 if a tensor is, otherwise float32.
    """

    def __init__(self, path: Path, rename: Callable[[str], str | None] = lambda name: name):
        index = path.with_name(f"{path.name}.index.json")
        self.path, self.tensors, self.metadata = path, {}, {}
        self.used = set()  # keys that `require` was called for
        self.dtype = np.dtype("f4")
        if os.path.lexists(index) and not os.path.lexists(path):
            self.path = index
            for file, names in read_index(index).items():
                tensors, _ = open_file(file)
                if differ := sorted(names ^ tensors.keys()):
                    has = "has no" if differ[0] in names else "has a"
                    raise CheckpointError(
                        f"{file} {has} {differ[0]!r:.200}, unlike the weight_map of {index.name}"
                    )
                self.add(tensors, rename)
        else:
            tensors, self.metadata = open_file(path)
            self.add(tensors, rename)

    def add(self, tensors, rename):
        """Add the tensors of one file."""
        for name, tensor in tensors.items():
            if (key := rename(name)) in self.tensors:
                other = self.tensors[key].name
                raise CheckpointError(f"{tensor.path}: {name} and {other} are both {key}")
            if key is not None:
                self.tensors[key] = tensor
                self.dtype = np.dtype("f8") if tensor.dtype == "F64" else self.dtype

    def __getitem__(self, name):
        if isinstance(x := self.tensors[name], StoredTensor):
            x = self.tensors[name] = x.read()
        return x

    def __setitem__(self, name, x):
        self.tensors[name] = x

    def __delitem__(self, name):
        del self.tensors[name]

    def __iter__(self):
        return iter(self.tensors)

    def __len__(self):
        return len(self.tensors)

    @property
    def size(self) -> int:
        """How many numbers all tensors have."""
        return sum(math.prod(x.shape) for x in self.tensors.values())

    def shape(self, name: str) -> tuple | None:
        """Return the shape of a tensor, or None if there is none of this name."""
        return self.tensors[name].shape if name in self else None

    def require(self, name: str, shape: tuple) -> np.ndarray:
        """Return the array of this name; raise CheckpointError unless it has this shape."""
        if (actual := self.shape(name)) != shape:
            wrong = "is missing" if actual is None else f"has shape {actual}, but must have {shape}"
            raise CheckpointError(f"{self.path}: {name} {wrong}: is the file for another model?")
        self.used.add(name)
        return self[name]

    def check_all_used(self) -> None:
        """Raise CheckpointError if there are tensors that `require` was not called for."""
        if unused := ", ".join(sorted(set(self) - self.used)[:4]):
            raise CheckpointError(
                f"{self.path} has unexpected tensors, {unused}: is the file for another model?"
            )


def dtype_name(dtype) -> str:
    """Return the name of a float type; raise CheckpointError if it can't be written."""
    with suppress(TypeError):
        name = "bfloat16" if str(dtype) == "bfloat16" else np.dtype(dtype).name
        if name in DTYPES:
            return name
    raise CheckpointError(f"dtype={dtype} must be {', '.join(DTYPES[:-1])} or {DTYPES[-1]}")


def serialize(arrays: dict[str, np.ndarray], metadata: dict[str, str], dtype=None) -> bytes:
    """Return the bytes of a safetensors file; equal arrays give equal bytes.

    dtype: of all arrays, also "bfloat16"; None keeps the dtype of each.
    """
    name_of = lambda x: x.dtype.name if dtype is None else dtype_name(dtype)
    arrays = {name: as_stored(name, host(x), name_of(x)) for name, x in arrays.items()}
    content = save(arrays, {"format": "pt"} | metadata)
    start = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:start])  # whose order differs from run to run
    for name, x in arrays.items():
        if x.dtype == np.uint16:
            entries[name]["dtype"] = "BF16"
    header = json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(content)[start:]])


def as_stored(name: str, x: np.ndarray, dtype: str) -> np.ndarray:
    """Return an array as it is written; raise CheckpointError if a number is not finite there."""
    with np.errstate(over="ignore"):
        stored = to_bfloat16(x) if dtype == "bfloat16" else np.ascontiguousarray(x, dtype)
    if not np.isfinite(from_bfloat16(stored) if dtype == "bfloat16" else stored).all():
        raise CheckpointError(f"{name} holds NaN or infinity as {dtype}, so it is not saved")
    return stored


def named_arrays(γ: Adaptation, frozen=False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return {name: array} of the parameters of γ, each once, and metadata about shared ones.

    frozen: also those that are not trained, of the adapters in a Fusion.
    metadata["shared"] is JSON: each further name of a parameter -> the name that its array has.
    """
    first_names, arrays, shared = {}, {}, {}
    for name, p in γ.named_parameters(frozen):
        first = first_names.setdefault(id(p), name)
        if first == name:
            arrays[name] = p.data
        else:
            shared[name] = first
    return arrays, {"shared": json.dumps(shared)}
