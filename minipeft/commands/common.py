"""What commands have in common: flags, where they print, the folders they fill, their progress."""

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
from rich.console import Console
from rich.progress import Progress
from tyro.conf import arg

from ..data.files import DataError


class Printer(Console):
    """A console that leaves a closed pipe to whoever runs the command."""

    def on_broken_pipe(self):
        raise BrokenPipeError


out = Printer()
err = Printer(stderr=True)

# flags that commands share
File = Annotated[Path, arg(metavar="FILE")]
Folder = Annotated[Path, arg(metavar="FOLDER")]


def optional(kind, metavar, help=None):
    return Annotated[kind | None, arg(metavar=metavar, help=help, help_behavior_hint="")]


KNOWN = "A folder of GPT-2, Llama or BERT; `encoder`, the built-in one; without: the decoder."
Model = optional(str, "FOLDER", KNOWN)
Config = optional(Path, "FILE", "A TOML file of these flags; those on the command line win.")
Json = Annotated[bool, arg(help="Print one JSON document and nothing else.", help_behavior_hint="")]


class Command:
    """A command is a dataclass: its fields are the flags, and what stands below one is its help."""

    def tell(self, report):
        """The report as JSON, or as the command shows it to people."""
        print(json.dumps(report)) if self.json else self.show(report)


def at_least(least, **flags):
    """A ValueError that names the first of these flags which is less, or no number."""
    for name, value in flags.items():
        if not least <= value < np.inf:
            raise ValueError(f"--{name.replace('_', '-')} {value}: it is at least {least}")


def unused(path):
    """A DataError, before the work, if nothing new can be put there."""
    if path is None:
        return
    if path.exists():
        raise DataError(f"{path} is there already; name a new one")
    there = next(p for p in path.absolute().parents if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise DataError(f"{path} can't be made: {there} is no folder that can be written to")


@contextmanager
def filling(folder):
    """A new folder under another name, which takes this one once it is full."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
        new = Path(place, folder.name)
        new.mkdir()
        yield new
        new.rename(folder)


@contextmanager
def watching(what, total):
    """each(items) is the items; meanwhile stderr shows how many are done.

    On a terminal that is a bar, else a line every ten seconds.
    """
    bar = Progress(console=err, transient=True, disable=not err.is_terminal)
    task, told = bar.add_task(what, total=total), time.monotonic()

    def each(items):
        nonlocal told
        for done, item in enumerate(items, 1):
            yield item
            bar.update(task, completed=done)
            if bar.disable and time.monotonic() > told + 10:
                told = time.monotonic()
                err.print(f"{what}: {done} of {total}", highlight=False)

    with bar:
        yield each
