"""Files and folders, written atomically: a fault or a kill leaves the old one or the new one."""

import ctypes
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

from .json import CheckpointError

HIDDEN = ".{}.{}"  # name of the folder in which a save of a folder is made, with 8 characters


def remove_killed_saves(folder: Path) -> None:
    """Delete what saves of a folder that were killed have left, without an earlier save in it."""
    for left in folder.parent.glob(HIDDEN.format(glob.escape(folder.name), "?" * 8)):
        if left.is_dir() and [path.name for path in left.iterdir()] == ["new"]:
            shutil.rmtree(left, ignore_errors=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file: the old content stays until the new one is on the disk, then is replaced."""
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


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replace_folder(folder: Path, marker: str, *others: str) -> Iterator[Path]:
    """Yield an empty folder to fill, which then takes the name `folder`.

    A folder of that name is replaced if it is empty or an earlier save: it has the file `marker`
    and no files but that and `others`.  If anything fails, the earlier save stays as it was.  A
    kill leaves the earlier save or the new one; only where the system cannot exchange two names at
    once is there an instant at which a kill leaves both in a hidden folder.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file: save to a folder")
    existing = {p.name for p in folder.iterdir()} if folder.exists() else set()
    if existing and (marker not in existing or existing - {marker, *others}):
        names = ", ".join(sorted(existing)[:9]) + ", …" * (len(existing) > 9)
        raise CheckpointError(
            f"{folder} has {names}: only a folder of {marker} and "
            f"{', '.join(others)} is replaced; save elsewhere"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryDirectory(prefix=HIDDEN.format(folder.name, ""), dir=folder.parent)
    except OSError as error:
        error.filename = str(folder)  # in place of a temporary name
        raise
    with temporary as hidden:
        new, old = Path(hidden, "new"), Path(hidden, "old")
        new.mkdir()
        yield new
        for path in (*new.iterdir(), new):
            sync(path)
        if not existing:
            new.rename(folder)
        elif not exchange_names(new, folder):
            folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                old.rename(folder)
                raise
        sync(folder.parent)


def exchange_names(a: Path, b: Path) -> bool:
    """Exchange the names of two folders in one step; return False where the system cannot.

    Linux can, by renameat2.
    """
    try:
        renameat2 = ctypes.CDLL("libc.so.6").renameat2
    except (OSError, AttributeError):
        return False
    AT_FDCWD, RENAME_EXCHANGE = -100, 2
    return not renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE)
