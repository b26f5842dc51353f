"""The command line.  Its flags are the fields of dataclasses, one for each command and method."""

import os
import signal
import sys
from argparse import ArgumentParser
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import subcommand

from . import __version__
from .commands.common import Command, stderr
from .commands.compare import Compare
from .commands.config import read_config
from .commands.convert import Convert
from .commands.evaluate import Evaluate
from .commands.generate import Generate
from .commands.info import Info
from .commands.layers import Layers
from .commands.methods import Methods
from .commands.pretrain import Pretrain
from .commands.train import Train
from .commands.verify import Verify
from .data.files import DataError
from .hf import CheckpointError
from .methods import METHODS
from .training.interrupt import Interrupted
from .training.parallel import keep_memory
from .training.trainer import NonFinite

COMMANDS = {
    "compare": Compare,
    "train": Train,
    "evaluate": Evaluate,
    "generate": Generate,
    "info": Info,
    "layers": Layers,
    "methods": Methods,
    "convert": Convert,
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
def token_ids(kind):
    """Return how a field of the type `tuple` is parsed: as token ids."""
    if kind.type is tuple:
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs="*",
            metavar="[ID ...]",
            instance_from_str=lambda words: tuple(map(int, words)),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda ids: list(map(str, ids)),
        )


def parse(args: list[str]) -> Command:
    """Return the command with its flags.  Wrong usage exits with 2, help with 0."""
    parser = ArgumentParser("minipeft", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    path = parser.parse_known_args(args)[0].config
    options = {name: {} for name in COMMANDS}
    if args and args[0] in COMMANDS:
        command = COMMANDS[args[0]]
        check_renamed(command, args)
        if path:
            methods = METHODS if command is Train else {}
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


def check_renamed(command: type[Command], args: list[str]) -> None:
    """Raise ValueError for a flag that was renamed."""
    for arg in args:
        old = arg.partition("=")[0].replace("_", "-").removeprefix("--")
        if arg.startswith("--") and old in command.renamed:
            raise ValueError(f"--{old} was renamed: use --{command.renamed[old]}")


def main(args: list[str] | None = None) -> None:
    """Run one command and exit.

    Exit codes: 0 success, 1 an equation fails, 2 wrong usage, 3 a file or folder can't be read or
    written, 4 out of memory, 5 the loss is not finite, 130 and 143 stopped by SIGINT and SIGTERM.
    """
    args = sys.argv[1:] if args is None else args
    if args == ["--version"]:
        sys.exit(print(f"minipeft {__version__}"))
    keep_memory()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        code = parse(args).run()
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:  # the reader of stdout has closed it; keep Python from reporting it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (DataError, CheckpointError, OSError) as error:
        code, message = 3, error
    except ValueError as error:
        code, message = 2, error
    except MemoryError as error:
        code, message = 4, f"out of memory: {error}"
    except NonFinite as error:
        code, message = 5, error
    except Interrupted as stop:
        name = signal.Signals(stop.code - 128).name
        code, message = stop.code, f"stopped by {name}; to continue, repeat it with --resume"
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    stderr.print(f"minipeft: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
