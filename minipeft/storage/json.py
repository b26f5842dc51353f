"""JSON files.

Files are untrusted: anything malformed raises CheckpointError naming the file and the field.
"""

import json
import math
import os
import re
from collections import Counter
from pathlib import Path
from reprlib import repr as short_repr

import numpy as np

MAX_JSON_BYTES = 2**22
MAX_FLOAT = float(np.finfo(np.float32).max)
MAX_NAMES = 4096  # in one list
CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"  # of a model, of an adaptation
MAX_DEPTH = 64  # of objects in objects
PICKLES = ".bin", ".pt", ".pth", ".ckpt", ".pkl"


class CheckpointError(ValueError):
    """A file that cannot be read or written: which file, which field or tensor, and what to do."""


def check_file(path: Path, max_bytes: float = math.inf) -> None:
    """Raise CheckpointError unless path is a file in its own folder, of at most max_bytes.

    A link may lead to another file of its folder or, in the cache of the Hugging Face Hub, from
    snapshots/REVISION/NAME to blobs.
    """
    folder, real = Path(os.path.realpath(path.parent)), Path(os.path.realpath(path))
    in_hub_cache = folder.parent.name == "snapshots"
    links_to = folder.parent.parent / "blobs" if in_hub_cache else folder
    if not real.is_relative_to(folder) and real.parent != links_to:
        raise CheckpointError(f"{path} is a link out of its folder, to {real}: copy the file there")
    if os.path.isfile(real):
        if (size := os.path.getsize(real)) > max_bytes:
            raise CheckpointError(f"{path} has {size:,} bytes; at most {max_bytes:,} are read")
        return
    if os.path.lexists(path):
        raise CheckpointError(f"{path} is not a regular file")
    if path.parent.is_file():
        raise CheckpointError(f"{path.parent} is a file: give the folder that it is in")
    if not path.parent.is_dir():
        raise CheckpointError(f"{path}: there is no folder {path.parent}{hub_hint(path.parent)}")
    names = sorted(p.name for p in path.parent.iterdir())
    hint = f"the folder has {', '.join(names[:9]) or 'no files'}"
    if any(name.endswith(PICKLES) for name in names):
        hint += "; pickles can run any code and are never opened: save the model as safetensors"
    if (kind := kind_of(path.parent)) and path.name in (CONFIG, ADAPTER_CONFIG):
        wanted = "a model" if path.name == CONFIG else "an adaptation"
        raise CheckpointError(f"{path.parent} holds {kind}, and {wanted} is needed")
    raise CheckpointError(f"{path}: no such file; {hint}")


def kind_of(folder: Path) -> str:
    """Return in words what a folder holds, or ""."""
    if (folder / ADAPTER_CONFIG).is_file():
        return "an adaptation"
    if (folder / CONFIG).is_file():
        return "a model"
    inside = [*folder.glob(f"*/{ADAPTER_CONFIG}"), *folder.glob(f"*/*/{ADAPTER_CONFIG}")]
    return f"folders of adaptations, such as {min(inside).parent}" if inside else ""


def hub_hint(folder: Path) -> str:
    """Return what to do if the missing folder may be a name of the Hugging Face Hub, or ""."""
    name = re.sub(r"^(https:/+)?huggingface\.co/", "", str(folder))
    is_path = os.path.isdir(folder.parent) and len(folder.parts) > 1
    if is_path or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        return ""
    return f"; names of the Hub are not fetched: hf download {name} --local-dir {name}"


def read_bytes(path: Path, max_bytes: float = MAX_JSON_BYTES) -> bytes:
    """Return the bytes of a file; raise CheckpointError if it has more than max_bytes."""
    try:
        check_file(path, max_bytes)
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from None


class Settings(dict):
    """A JSON object in a file.  Its methods check values of fields and raise CheckpointError."""

    def __init__(self, values, path):
        if not isinstance(values, dict):
            raise CheckpointError(f"{path} must hold a JSON object, not {short_repr(values)}")
        super().__init__(values)
        self.path = path

    def field(self, name: str, default, kind: type):
        """Return the value of a field, which must be of this type; the default for null or none.

        An int must be at least 1 and a float finite as float32.  Lists are returned as tuples.
        """
        value = self.get(name)
        if value is None:
            return default
        if kind is tuple and isinstance(value, list):
            return tuple(tuple(v) if isinstance(v, list) else v for v in value)
        valid = isinstance(value, (int, float) if kind is float else kind)
        valid = valid and isinstance(value, bool) == (kind is bool)  # True is an int in Python
        if not valid or kind is int and value < 1 or kind is float and not abs(value) <= MAX_FLOAT:
            wanted = {int: "positive int", float: "finite float"}.get(kind, kind.__name__)
            raise CheckpointError(f"{self.path}: {name}={short_repr(value)} must be a {wanted}")
        return value

    def token_id(self, name: str, default: int) -> int:
        """Return the token id in a field; the default for null or none."""
        value = self.get(name)
        if value is not None and not (type(value) is int and value >= 0):
            raise CheckpointError(f"{self.path}: {name}={short_repr(value)} must be a token id")
        return default if value is None else value

    def names(self, field: str, default=(), pattern: bool = False):
        """Return the list of names in a field; if `pattern`, it may be a regular expression."""
        value = default if (value := self.get(field)) in (None, []) else value
        if pattern and isinstance(value, str):
            return value
        valid = isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)
        if not valid or len(value) > MAX_NAMES:
            wanted = f"{'a pattern or ' * pattern}a list of at most {MAX_NAMES:,} names"
            raise CheckpointError(f"{self.path}: {field}={short_repr(value)} must be {wanted}")
        return value

    def check_depth(self) -> None:
        """Raise CheckpointError if the object is nested too deep to be copied and written."""
        level: list = [self]
        for _ in range(MAX_DEPTH):
            inside = (x.values() if isinstance(x, dict) else x for x in level)
            level = [x for values in inside for x in values if isinstance(x, dict | list)]
        if level:
            raise CheckpointError(f"{self.path} is nested more than {MAX_DEPTH} deep")

    def check_supported(self, supported: dict[str, tuple], hint: str = "") -> None:
        """Raise CheckpointError if a field has a value that `supported`, name -> values, lacks."""
        for name, values in supported.items():
            value = self.get(name)
            same = (x == value and isinstance(x, bool) == isinstance(value, bool) for x in values)
            if value is not None and not any(same):
                what = f"is not supported, only {' or '.join(map(repr, values))}"
                raise CheckpointError(f"{self.path}: {name}={short_repr(value)} {what}{hint}")


def read_json(path: Path) -> Settings:
    """Return the JSON object in a file."""
    return parse_json(read_bytes(path), path)


def parse_json(text: str | bytes, path) -> Settings:
    """Return the JSON object in a text; errors name the path that the text comes from."""

    def unique(pairs):
        if len(values := dict(pairs)) < len(pairs):
            (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
            raise CheckpointError(f"{path} has {short_repr(name)} twice in one object")
        return values

    number = lambda digits: (int if len(digits) < 20 else float)(digits)  # 20 exceed int64
    try:
        text = text if isinstance(text, str) else text.decode()
        values = json.loads(text, object_pairs_hook=unique, parse_int=number)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    return Settings(values, path)
