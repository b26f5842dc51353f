"""Files and folders: written whole, or not at all."""

import ctypes
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

from .json import CheckpointError


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
