"""What is in folders by the headers of their files: no number of a tensor is read or made."""

import numpy as np
from safetensors import SafetensorError, safe_open

from .folders import FLOATS, CheckpointError, Tensors, parsed, present


def headers(path):
    """{name: (dtype, shape)} of a safetensors file, or of its shards, and its metadata."""
    found, metadata = {}, {}
    for file in shards(path):
        present(file)
        try:
            with safe_open(file, "numpy") as opened:
                metadata |= opened.metadata() or {}
                for name in opened.keys():
                    tensor = opened.get_slice(name)
                    found[name] = tensor.get_dtype(), tuple(tensor.get_shape())
        except (SafetensorError, OSError, ValueError) as e:
            raise CheckpointError(f"{file} is no whole safetensors file: {e}") from None
    return found, metadata


def shards(path):
    """The files that the tensors are in: this one, or those that the index beside it names."""
    index = path.with_name(f"{path.name}.index.json")
    if path.exists() or not index.exists():
        return [path]
    said = parsed(index).field("weight_map", {}, dict)
    if odd := [name for name in said.values() if not isinstance(name, str) or "/" in name]:
        raise CheckpointError(f"{index}: weight_map names {odd[0]!r:.80}, no file beside it")
    return [path.with_name(name) for name in sorted({*said.values()})]


class Outlines(Tensors):
    """The tensors by their shapes alone: zeros, which take no memory."""

    def __init__(self, path, called=lambda name: name):
        self.path, self.asked = path, set()
        found, self.metadata = headers(path)
        for name, (dtype, shape) in found.items():
            if dtype not in FLOATS:
                raise CheckpointError(f"{path}: {name} is {dtype}, not one of {', '.join(FLOATS)}")
            if (key := called(name)) is not None:
                zero = np.zeros((), "f8" if dtype == "F64" else "f4")
                self[key] = np.broadcast_to(zero, shape)
