"""What commands have in common: where they print, and the folders that they fill."""

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from ..data import DataError

out = Console()
err = Console(stderr=True)


def unused(folder):
    if folder and folder.exists():
        raise DataError(f"{folder} is there already; name a new folder")


@contextmanager
def filling(folder):
    """A new folder under another name, which takes this one once it is full."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
        new = Path(place, folder.name)
        new.mkdir()
        yield new
        new.rename(folder)
