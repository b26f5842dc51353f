"""The command line.  Its flags are the fields of dataclasses, one for each command and method."""

import io
import re
import signal
import sys
from argparse import ArgumentParser
from dataclasses import fields
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import subcommand

from .. import __version__
from ..data.files import DataError
from ..hf import CheckpointError
from ..methods import METHODS, method
from ..training.interrupt import Interrupted
from ..training.lbfgs import NotConverged
from ..training.parallel import keep_memory
from ..training.trainer import NonFinite
from .claims import Claims
from .common import Command, did_you_mean, discard, print_note
from .compare import Compare
from .config import read_config
from .convert import Convert
from .evaluate import Evaluate
from .feedback import Feedback
from .generate import Generate
from .info import Info
from .layers import Layers
from .methods import Methods
from .pretrain import Pretrain
from .search import Search
from .train import Train
from .verify import Verify

COMMANDS = {
    "compare": Compare,
    "train": Train,
    "evaluate": Evaluate,
    "generate": Generate,
    "info": Info,
    "layers": Layers,
    "methods": Methods,
    "convert": Convert,
    "search": Search,
    "feedback": Feedback,
    "claims": Claims,
    "pretrain": Pretrain,
    "verify": Verify,
}
HELP = """Parameter-efficient fine-tuning of frozen language models, in NumPy.

Flags of a command: minipeft train --help

Flags in a TOML file: minipeft train --config run.toml

Shell completion: eval "$(minipeft --tyro-print-completion bash)"

Version: minipeft --version"""
STYLE = (
    tyro.conf.CascadeSubcommandArgs,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
)
REGISTRY = tyro.constructors.ConstructorRegistry()


@REGISTRY.primitive_rule
def words(kind):
    """Return how a field of the type `str | tuple` is parsed: as a text, texts, or token ids."""
    if kind.type == str | tuple:
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs="*",
            metavar="TEXT|[ID ...]",
            instance_from_str=parse_words,
            is_instance=lambda value: isinstance(value, str | tuple),
            str_from_instance=lambda words: [words] if isinstance(words, str) else map(str, words),
        )


def parse_words(words: list[str]) -> str | tuple:
    """Return token ids if all words are numbers, else the one text, or a tuple of texts."""
    if all(map(str.isdecimal, words)):
        return tuple(map(int, words))
    return words[0] if len(words) == 1 else tuple(words)


def parse(args: list[str]) -> Command:
    """Return the command with its flags.  Wrong usage exits with 2, help with 0."""
    parser = ArgumentParser("minipeft", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    path = parser.parse_known_args(args)[0].config
    options = {name: {} for name in COMMANDS}
    if args and not args[0].startswith("-"):
        check_names(*args)
        if path:
            command, methods = COMMANDS[args[0]], METHODS if args[0] == "train" else {}
            options[args[0]] = {"default": read_config(command, path, methods)}
    commands = [
        Annotated[COMMANDS[name], subcommand(name, prefix_name=False, **more)]
        for name, more in options.items()
    ]
    return tyro.cli(
        reduce(or_, commands),
        args=args,
        prog="minipeft",
        description=HELP,
        config=STYLE,
        registry=REGISTRY,
    )


def check_names(command: str, *args: str) -> None:
    """Raise ValueError for a command, method or flag that does not exist, with one that does."""
    if command not in COMMANDS:
        raise ValueError(
            f"no command is called {command!r}{did_you_mean(command, COMMANDS)} The commands are "
            f"{', '.join(COMMANDS)}: minipeft --help"
        )
    classes, named = [COMMANDS[command]], []
    if command == "train":
        if args and not args[0].startswith("-"):
            method(args[0])  # raises ValueError for an unknown name
        named = [arg for arg in args if arg in METHODS]
        classes += [METHODS[name] for name in named or METHODS]  # a file may have the method
    names = {field.name.replace("_", "-") for cls in classes for field in fields(cls)}
    flags = [arg.partition("=")[0] for arg in args if re.match("--?[A-Za-z]", arg)]
    if flags.count("--adaptation") > 1:  # of other flags, the last is meant
        raise ValueError("--adaptation is given more than once: give it once, with all its values")
    for flag in flags:
        name = flag.lstrip("-").replace("_", "-")
        if new := classes[0].renamed.get(name):
            raise ValueError(f"--{name} was renamed: use --{new}")
        if flag not in ("-h", "--help") and (name not in names or not flag.startswith("--")):
            hint = did_you_mean(name, names, "--")
            help = " ".join(["minipeft", command, *named[:1], "--help"])
            raise ValueError(f"{command} has no flag {flag}{hint} Its flags: {help}")


def run(args: list[str]) -> int | None:
    """Run one command; return its exit code."""
    if args == ["--version"]:
        return print(f"minipeft {__version__}")
    try:
        return parse(args).run()
    except SystemExit as stop:  # after the help, or a signal
        return stop.code


def main(args: list[str] | None = None) -> None:
    """Run one command and exit.

    Exit codes: 0 success, 1 an equation fails, 2 wrong usage, 3 a file or folder can't be read or
    written, 4 out of memory, 5 the loss is not finite, 130 and 143 stopped by SIGINT and SIGTERM.
    """
    sys.stdout, sys.stderr = (x or io.StringIO() for x in (sys.stdout, sys.stderr))  # if closed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # escape what a console's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    keep_memory()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        code = run(sys.argv[1:] if args is None else args)
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:  # the reader of stdout has closed it
        discard(sys.stdout)
        sys.exit(141)
    except (DataError, CheckpointError) as error:
        code, message = 3, error
    except UnicodeError as error:  # of standard input
        code, message = 3, f"text in another encoding: {error}"
    except OSError as error:
        code, message = 3, f"{error.filename}: {error.strerror}"
        if error.filename is None:
            discard(sys.stdout)
            message = f"the output can't be written: {error.strerror or error}"
    except ValueError as error:
        code, message = 2, error
    except MemoryError as error:
        code, message = 4, f"out of memory: {error}"
    except (NonFinite, NotConverged) as error:
        code, message = 5, error
    except Interrupted as stop:
        name = signal.Signals(stop.code - 128).name
        code, message = stop.code, f"stopped by {name}; to continue, repeat it with --resume"
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    print_note(f"minipeft: {message}")
    sys.exit(code)
