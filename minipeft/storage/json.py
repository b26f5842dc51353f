"""JSON files of a folder, with nothing believed: what a file is, and what a field holds."""

import json
import math
import os
from collections import Counter
from pathlib import Path
from reprlib import repr as brief

import numpy as np

from ..adaptation.patterns import matches

TEXT = 2**22  # the bytes of JSON that are read at most
LARGEST = float(np.finfo(np.float32).max)
MANY = 4096  # names in a list
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class CheckpointError(ValueError):
    """What can't be read or written: which file, which field or tensor, and what to do."""


def present(path, most=math.inf):
    """The path of a file, if it is there, in its own folder, and has at most so many bytes."""
    folder, real = Path(os.path.realpath(path.parent)), Path(os.path.realpath(path))
    cached = folder.parent.name == "snapshots"  # by Hugging Face: snapshots/REVISION/NAME -> blobs
    home = folder.parent.parent / "blobs" if cached else folder
    if not real.is_relative_to(folder) and real.parent != home:
        raise CheckpointError(f"{path} is a link out of its folder, to {real}: copy the file there")
    if os.path.isfile(real):
        if (size := os.path.getsize(real)) > most:
            raise CheckpointError(f"{path} has {size:,} bytes; at most {most:,} are read")
        return path
    if os.path.lexists(path):
        raise CheckpointError(f"{path} is no file")
    if not path.parent.is_dir():
        raise CheckpointError(f"{path}: there is no folder {path.parent}")
    names = sorted(p.name for p in path.parent.iterdir())
    hint = f"the folder has {', '.join(names[:9]) or 'nothing'}"
    if any(name.endswith(PICKLES) for name in names):
        hint += "; pickles may run any code and are never opened: save it again as safetensors"
    raise CheckpointError(f"{path}: no such file; {hint}")


def contents(path, most=TEXT):
    """The bytes of a file, of which there are at most so many."""
    try:
        return present(path, most).read_bytes()
    except OSError as e:
        raise CheckpointError(f"{path} can't be read: {e.strerror or e}") from None


class Settings(dict):
    """A JSON object out of a file, asked for one field at a time."""

    def __init__(self, said, path):
        if not isinstance(said, dict):
            raise CheckpointError(f"{path} must hold a JSON object, not {brief(said)}")
        super().__init__(said)
        self.path = path

    def field(self, name, default, kind):
        """Its value, which is of this kind; the default if it is left out or null."""
        value = self.get(name)
        if value is None:
            return default
        if kind is tuple and isinstance(value, list):
            return tuple(tuple(v) if isinstance(v, list) else v for v in value)
        good = isinstance(value, (int, float) if kind is float else kind)
        good = good and isinstance(value, bool) == (kind is bool)  # True is an int in Python
        if not good or kind is int and value < 1 or kind is float and not abs(value) <= LARGEST:
            like = {int: "positive int", float: "finite float"}.get(kind, kind.__name__)
            raise CheckpointError(f"{self.path}: {name}={brief(value)} must be a {like}")
        return value

    def names(self, field, default=(), pattern=False):
        """The list of names that a field holds; or, where there may be one, the pattern."""
        said = default if (said := self.get(field)) in (None, []) else said
        if pattern and isinstance(said, str):
            return said
        good = isinstance(said, (list, tuple)) and all(isinstance(name, str) for name in said)
        if not good or len(said) > MANY:
            told = f"must be {'a pattern or ' * pattern}a list of at most {MANY:,} names"
            raise CheckpointError(f"{self.path}: {field}={brief(said)} {told}")
        return said

    def only(self, table, hint=""):
        """An error for a field with another value than the known ones."""
        for name, known in table.items():
            value = self.get(name)
            alike = (x == value and isinstance(x, bool) == isinstance(value, bool) for x in known)
            if value is not None and not any(alike):
                what = f"is not supported, only {' or '.join(map(repr, known))}"
                raise CheckpointError(f"{self.path}: {name}={brief(value)} {what}{hint}")

    def matches(self, field, pattern, name):
        """Does the pattern, which the field holds, match the whole name?"""
        try:
            return matches(field, pattern, name, whole=True)
        except ValueError as e:
            raise CheckpointError(f"{self.path}: {e}") from None


def parsed(path, text=None):
    """The settings in a JSON file, or in a text out of it."""

    def once(pairs):
        if len(said := dict(pairs)) < len(pairs):
            (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
            raise CheckpointError(f"{path} has {brief(name)} twice in one object")
        return said

    whole = lambda digits: (int if len(digits) < 20 else float)(digits)  # 20 fit in no int64
    try:
        text = contents(path) if text is None else text
        text = text if isinstance(text, str) else text.decode()
        said = json.loads(text, object_pairs_hook=once, parse_int=whole)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"{path} is not JSON: {e}") from None
    return Settings(said, path)
