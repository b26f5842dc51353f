"""The folder FOLDER.part of a command that can be stopped and resumed, and its settings."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data.files import DataError
from ..storage.folders import write_atomically
from ..storage.json import parse_json
from ..storage.part import locked_part
from .common import check_new

SETTINGS = "settings.json"


@contextmanager
def new_part(out: Path) -> Iterator[Path]:
    """Yield the folder OUT.part, locked; raise DataError if OUT can't be created or exists."""
    check_new(out)
    with locked_part(out) as part:
        check_new(out)  # another process may have created it before the lock
        yield part


@contextmanager
def resumable_part(
    out: Path, resume: bool, marker: str, has_work: Callable[[Path], bool]
) -> Iterator[Path]:
    """Yield the folder OUT.part, locked: with earlier work to resume, else empty.

    marker: the file that a folder with work has.  has_work(part): whether the work is worth
    keeping; if it is not when the command starts or fails, it is deleted.
    """
    with new_part(out) as part:
        if resume and not (part / marker).exists():
            raise DataError(f"{part} does not exist, or is empty: there is nothing to resume")
        if not resume and any(part.iterdir()):
            if not (part / marker).exists():
                raise DataError(f"{part} exists, and is not of this command: move or delete it")
            if has_work(part):
                raise DataError(f"{part} exists: continue it with --resume, or delete it")
            empty(part)
        try:
            yield part
        except BaseException:
            if not has_work(part):
                empty(part)
            raise


def keep_settings(part: Path, settings: dict) -> None:
    """Store the settings of the work in a folder; raise DataError if it was begun with others.

    settings: {flag: value}, of the flags that must be equal to resume it.
    """
    path, settings = part / SETTINGS, json.loads(json.dumps(settings))
    if not path.exists():
        return write_json(path, settings)
    for name, before in read(path).items():
        if settings.get(name) != before:
            raise DataError(
                f"{part}: --{name.replace('_', '-')} was {before!r}, and here it is "
                f"{settings.get(name)!r}: repeat the command as it was, or delete {part}"
            )


def read(path: Path):
    """Return the object in a JSON file, which may be long."""
    return parse_json(path.read_bytes(), path)


def write_json(path: Path, value) -> None:
    """Write a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(value, indent=2).encode())


def empty(folder: Path) -> None:
    """Delete what is in a folder."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
