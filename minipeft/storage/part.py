"""FOLDER.part, in which a command works on FOLDER, locked against other processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .folders import HIDDEN, remove_killed_saves
from .json import CheckpointError

try:
    import fcntl
except ImportError:  # Windows, which has no locks of folders: nothing is locked
    fcntl = None


@contextmanager
def locked_part(folder: Path) -> Iterator[Path]:
    """Yield the folder FOLDER.part, created if it does not exist, and lock it.

    The lock ends with the process, however that ends.  At the end FOLDER.part is removed if it is
    empty.  Raises CheckpointError if another process has the lock; an error of the system about
    FOLDER, FOLDER.part or a hidden folder beside them becomes a CheckpointError that names FOLDER.
    """
    part = folder.parent / f"{folder.name}.part"
    created = [part, *(path for path in part.parents if not path.exists())]
    try:
        Path(folder.parent, HIDDEN.format(folder.name, "?" * 8)).exists()  # or is it too long?
        lock = create_and_lock(part)
    except BlockingIOError:
        raise CheckpointError(
            f"another process is writing {folder}: wait until it has ended, or choose another name"
        ) from None
    except OSError as error:
        why = f"{part} is a file" if os.path.isfile(part) else error.strerror
        raise CheckpointError(f"{folder} can't be created: {why}") from None
    try:
        remove_killed_saves(folder)
        yield part
    except (OSError, CheckpointError) as error:
        reason = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(reason, OSError) or not concerns(reason, folder):
            raise
        raise CheckpointError(f"{folder} can't be written: {reason.strerror}") from error
    finally:
        with suppress(OSError):  # not empty
            for path in created:
                path.rmdir()
        if lock is not None:
            os.close(lock)


def create_and_lock(folder: Path) -> int | None:
    """Return the descriptor of a folder that is locked now, None where folders have no locks.

    Raises BlockingIOError if another process has locked it.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return lock_folder(folder) if fcntl else None
        except FileNotFoundError:  # the process that had locked it has removed it
            continue


def lock_folder(folder: Path) -> int:
    """Lock an existing folder, and return its descriptor; raise FileNotFoundError if it is gone."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # else it is a file system without locks
            if isinstance(error, BlockingIOError):
                raise
        if not os.path.samestat(os.fstat(lock), os.stat(folder)):
            raise FileNotFoundError
    except OSError:
        os.close(lock)
        raise
    return lock


def concerns(error: OSError, folder: Path) -> bool:
    """Return whether the system's error names no file, or one in the making of the folder."""
    if error.filename is None:
        return not isinstance(error, BrokenPipeError)
    path, folder = Path(os.fsdecode(error.filename)).absolute(), folder.absolute()
    names = [p.name for p in (path, *path.parents) if p.parent == folder.parent]
    ours = folder.name, f"{folder.name}.part"
    return any(name in ours or name.startswith(HIDDEN.format(folder.name, "")) for name in names)
