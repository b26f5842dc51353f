"""Folders of JSON and safetensors: read with nothing believed, written whole or not at all."""

import ctypes
import json
import math
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..backend import host

FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


class CheckpointError(ValueError):
    """What can't be read or written: which file, which field or tensor, and what to do."""


def present(path):
    """The path of a file, if it is there."""
    if path.is_file():
        return path
    if not path.parent.is_dir():
        raise CheckpointError(f"{path}: there is no folder {path.parent}")
    names = sorted(p.name for p in path.parent.iterdir())
    hint = f"the folder has {', '.join(names) or 'nothing'}"
    if any(name.endswith(PICKLES) for name in names):
        hint += "; pickles may run any code and are never opened: save it again as safetensors"
    raise CheckpointError(f"{path}: no such file; {hint}")


class Settings(dict):
    """A JSON object out of a file, asked for one field at a time."""

    def __init__(self, said, path):
        if not isinstance(said, dict):
            raise CheckpointError(f"{path} must hold a JSON object, not {said!r:.40}")
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
        if not good or kind is int and value < 1 or kind is float and not math.isfinite(value):
            like = {int: "positive int", float: "finite float"}.get(kind, kind.__name__)
            raise CheckpointError(f"{self.path}: {name}={value!r} must be a {like}")
        return value

    def only(self, table, hint=""):
        """An error for a field with another value than the known ones."""
        for name, known in table.items():
            if (value := self.get(name)) is not None and value not in known:
                what = f"{name}={value!r} is not supported, only {' or '.join(map(repr, known))}"
                raise CheckpointError(f"{self.path}: {what}{hint}")


def parsed(path, text=None):
    """The settings in a JSON file, or in a text out of it."""
    try:
        said = json.loads(path.read_bytes() if text is None else text)
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"{path} is not JSON: {e}") from None
    return Settings(said, path)


class Tensors(dict):
    """The tensors in a safetensors file, mapped from the disk; halves are widened to float32.

    called: the name here of a name in the file; None leaves the tensor out.
    """

    def __init__(self, path, called=lambda name: name):
        self.path, self.asked = present(path), set()
        try:
            with safe_open(path, "numpy"):  # the library checks that header, sizes and file agree
                raw = np.asarray(np.memmap(path, np.uint8, "r"))
        except (SafetensorError, OSError, ValueError) as e:
            raise CheckpointError(f"{path} is no whole safetensors file: {e}") from None
        start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
        header = json.loads(raw[8:start].tobytes())
        self.metadata = header.pop("__metadata__", None) or {}
        for name, about in header.items():
            begin, end = about["data_offsets"]
            if (key := called(name)) is not None:
                self[key] = self.floats(name, raw[start + begin : start + end], **about)

    def floats(self, name, raw, dtype, shape, data_offsets):
        if dtype not in FLOATS:
            raise CheckpointError(f"{self.path}: {name} is {dtype}, not one of {', '.join(FLOATS)}")
        x = np.require(raw.view(FLOATS[dtype]).reshape(shape), requirements="A")
        if dtype == "BF16":  # the upper half of a float32
            x = (x.astype(np.uint32) << 16).view(np.float32)
        if not np.isfinite(x).all():
            raise CheckpointError(f"{self.path}: {name} holds NaN or infinity")
        return x.astype(np.float32) if dtype == "F16" else x

    def need(self, name, shape):
        """The tensor of this name, which has this shape."""
        found = self[name].shape if name in self else "missing"
        if found != shape:
            raise CheckpointError(
                f"{self.path}: {name} is {found}, but must be {shape}: is it of another model?"
            )
        self.asked.add(name)
        return self[name]

    def end(self):
        """An error if there is more than was asked for."""
        if more := ", ".join(sorted(set(self) - self.asked)[:4]):
            raise CheckpointError(f"{self.path}: no place for {more}: is it of another model?")


def packed(tensors, metadata, dtype):
    """The bytes of a safetensors file; of the same arrays, the same bytes."""
    if np.dtype(dtype) not in (np.float16, np.float32, np.float64):
        raise CheckpointError(f"dtype={dtype}: there is float16, float32, float64")
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


def write(path, content):
    """The bytes of a file, of which no fault and no kill at any instant leaves a part.

    What is there before stays whole until all is on the disk, and then is replaced at once.
    """
    for left in path.parent.glob(f".{path.name}.*.part"):  # by a save that was killed
        left.unlink(missing_ok=True)
    new = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        with new.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    sync(path.parent)


def sync(path):
    """Have a file, or the names in a folder, outlast a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(folder, mark, *others):
    """An empty folder to fill, which takes this name when all is written.

    An earlier save of that name goes: a folder with the file `mark` and, apart from it, none but
    `others`.  Whatever fails, it stays whole.  A kill leaves it or the new one; where two folders
    can't change names at once there is an instant in which it leaves both in a hidden folder.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: save to a folder")
    there = {p.name for p in folder.iterdir()} if folder.exists() else set()
    if there and (mark not in there or there - {mark, *others}):
        raise CheckpointError(
            f"{folder} has {', '.join(sorted(there))}: only a folder of {mark} and "
            f"{', '.join(others)} is replaced; save elsewhere"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        new.mkdir()
        yield new
        for path in (*new.iterdir(), new):
            sync(path)
        if not there:
            new.rename(folder)
        elif not exchanged(new, folder):
            folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                old.rename(folder)
                raise
        sync(folder.parent)


def exchanged(a, b):
    """Have two folders changed names at one instant?  Linux's renameat2 can."""
    try:
        renameat2 = ctypes.CDLL("libc.so.6").renameat2
    except (OSError, AttributeError):
        return False
    AT_FDCWD, RENAME_EXCHANGE = -100, 2
    return not renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE)
