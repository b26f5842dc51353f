"""What the commands share: flags, checks of flags, output, new folders, a progress bar."""

import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from rich.console import Console, ConsoleDimensions
from rich.progress import Progress
from tyro.conf import arg

from ..data.files import DataError
from .streams import discard


class PipeConsole(Console):
    """A console of at least 40 columns that raises BrokenPipeError where rich would exit."""

    @property
    def size(self):
        width, height = super().size
        return ConsoleDimensions(max(width, 40), height)

    def on_broken_pipe(self):
        raise BrokenPipeError


stdout = PipeConsole()
stderr = PipeConsole(stderr=True)


def flag(kind, metavar=None, help=None):
    """Return the type of a flag whose help does not show its default."""
    return Annotated[kind, arg(metavar=metavar, help=help, help_behavior_hint="")]


def optional(kind, metavar, help=None):
    """Return the type of a flag that may be left out."""
    return flag(kind | None, metavar, help)


def flag_name(field: str) -> str:
    """Return the name of a field's flag without its dashes; `as_` has the flag --as."""
    return field.rstrip("_").replace("_", "-")


# flags of several commands
File = Annotated[Path, arg(metavar="FILE")]
Folder = Annotated[Path, arg(metavar="FOLDER")]
MODEL = "Folder of a model of Hugging Face; `decoder`, `encoder`, `seq2seq`: the built-in ones. "
Model = optional(str, "FOLDER", f"{MODEL}(default: decoder)")
BaseModel = optional(
    str, "FOLDER", f"{MODEL}(default: the one that --adaptation names, or decoder)"
)
Dev = optional(Path, "FILE", "Held-out text or examples. (default: 10 % of --data)")
Test = optional(Path, "FILE", "Text or examples for a last evaluation, which nothing is chosen by.")
TextColumn = flag(
    tuple[str, ...], "NAME [NAME]", "Column of the texts; two: pairs of texts. (default: text)"
)
LabelColumn = flag(str, "NAME", "Column of the labels in --data. (default: label)")
Pool = optional(
    Literal["last", "mean", "first", "cls", "attention"],
    "last|mean|first|cls|attention",
    "Hidden state of a text that a new head reads; cls: first, after the encoder's pooler; "
    "attention: a weighted mean, by a trained query. "
    "(default: what 1_Pooling in the model's folder says; without it, compare takes the best on "
    "dev, and train takes last for a decoder, cls for an encoder)",
)
BlockSize = Annotated[int, arg(help="Tokens in each passage of a text.")]
Config = optional(Path, "FILE", "TOML file of flags; the command line overrides it.")
Json = flag(bool, help="Print the report as JSON, and nothing else.")


class Command:
    """A command.  Its dataclass fields are the flags; the string below a field is its help."""

    renamed = {}  # old name of a flag -> its name now
    short = ()  # flags of one letter, beside -h

    def run(self):
        """Run the command; return its exit code, None for 0."""
        raise NotImplementedError

    def output(self, report):
        """Print the report: as JSON with --json, else as `show` does."""
        print(json.dumps(report)) if self.json else self.show(report)

    def show(self, report):
        """Print the report for a person."""
        raise NotImplementedError


@contextmanager
def cluster_at(address: str | None) -> Iterator[Executor | None]:
    """Yield the executor of --cluster ADDRESS, or None without an address.

    Raises ValueError without Dask, or if nothing answers, and DataError for a piece of work that
    ended several workers, or that the scheduler lost.
    """
    if address is None:
        yield None
        return
    try:
        from ..training.cluster import LOST, Cluster
    except ImportError:
        raise ValueError('--cluster needs Dask: pip install "minipeft[cluster]"') from None
    with Cluster(address) as cluster:
        try:
            yield cluster
        except LOST as error:
            raise DataError(f"--cluster {address}: {error}") from None


def print_line(text: str) -> None:
    """Print text to stdout as it is: no markup, no colours, no wrapping."""
    stdout.print(text, markup=False, highlight=False, soft_wrap=True)


def wrapped(text: str) -> str:
    """Return a sentence in lines of at most 80 columns."""
    return textwrap.fill(text, 80, subsequent_indent="  ")


def print_note(text: str) -> None:
    """Print a line to stderr; if that can't be written, go on without it."""
    try:
        stderr.print(text, markup=False, highlight=False, soft_wrap=True)
    except OSError:
        discard(sys.stderr)


def save_plot(plot: Callable, report: dict, path: Path) -> str | None:
    """Save the plot of a report; return its file name, or None, with a note, if it failed."""
    try:
        plot(report, path)
    except ImportError:
        print_note("no plot without matplotlib: pip install minipeft[plot]")
    except Exception as error:  # a picture is not worth the results
        print_note(f"no plot: {error}")
    else:
        return path.name
    return None


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """Return the end of a sentence, with the name that is most like this one, if there is one."""
    close = get_close_matches(name, list(names), 1)
    return f"; did you mean {prefix}{close[0]}?" if close else "."


def check_at_least(least: float, **flags: float) -> None:
    """Raise ValueError for a flag that is less than `least`, infinite or not a number."""
    for name, value in flags.items():
        if not least <= value < np.inf:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")


def check_lr(*lrs: float, name: str = "lr") -> None:
    """Raise ValueError for learning rates that are not positive and finite, or if there is none."""
    if not lrs or not all(0 < lr < np.inf for lr in lrs):
        given = ", ".join(map(str, lrs)) or "none"
        raise ValueError(f"--{name} must be greater than 0 and finite; got {given}")


def check_new(path: Path | None) -> None:
    """Raise DataError if a new file or folder can't be created at `path`."""
    if path is None:
        return
    if path.exists():
        raise DataError(f"{path} exists already: choose another name")
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise DataError(f"{path} can't be created: {parent} is not a folder with write permission")


class Bar:
    """Progress of a task on stderr: a bar on a terminal, elsewhere a line every ten seconds."""

    def __init__(self, task: str, total: int):
        self.task, self.total, self.last_line = task, total, time.monotonic()
        self.bar = Progress(console=stderr, transient=True, disable=not stderr.is_terminal)
        self.bar.add_task(task, total=total)

    def __call__(self, items: Iterable) -> Iterator:
        """Yield the items; show how many are done."""
        for done, item in enumerate(items, 1):
            yield item
            self.show(done)

    def show(self, done: int, loss: float | None = None) -> None:
        """Show how much is done, and the loss of a training."""
        task = self.task if loss is None else f"{self.task}, loss {loss:.3f}"
        self.bar.update(self.bar.task_ids[0], completed=done, description=task)
        if self.bar.disable and time.monotonic() > self.last_line + 10:
            self.last_line = time.monotonic()
            loss = "" if loss is None else f", loss {loss:.3f}"
            print_note(f"{self.task}: {done:,} of {self.total:,}{loss}")


@contextmanager
def progress(task: str, total: int) -> Iterator[Bar]:
    """Yield a Bar, which is shown until the end."""
    bar = Bar(task, total)
    with bar.bar:
        yield bar
