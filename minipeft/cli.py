"""The command line: flags are the fields of dataclasses, one for each command and each method."""

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
from .commands.common import err
from .commands.compare import Compare
from .commands.config import configured
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
HELP = """How a frozen language model is adapted.

Flags can stand in a file: minipeft train --config run.toml

Completion in a shell: eval "$(minipeft --tyro-print-completion bash)"

The version: minipeft --version"""
STYLE = (
    tyro.conf.CascadeSubcommandArgs,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
)
KINDS = tyro.constructors.ConstructorRegistry()


@KINDS.primitive_rule
def token_ids(kind):
    """A field that is a `tuple`, of no said kind, takes token ids."""
    if kind.type is tuple:
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs="*",
            metavar="[ID ...]",
            instance_from_str=lambda words: tuple(map(int, words)),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda ids: list(map(str, ids)),
        )


def parsed(args):
    """The command that the arguments ask for.  Usage and help end here, with 2 and 0."""
    first = ArgumentParser("minipeft", add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path)
    path = first.parse_known_args(args)[0].config
    choices = {name: {} for name in COMMANDS}
    if path and args[0] in COMMANDS:
        command = COMMANDS[args[0]]
        methods = METHODS if command is Train else {}
        choices[args[0]] = {"default": configured(command, path, methods)}
    kinds = [
        Annotated[COMMANDS[name], subcommand(name, prefix_name=False, **default)]
        for name, default in choices.items()
    ]
    told = {"prog": "minipeft", "description": HELP, "config": STYLE, "registry": KINDS}
    return tyro.cli(reduce(or_, kinds), args=args, **told)


def main(args=None):
    """Run one command, and exit: 0, 1 an equation fails, 2 usage, 3 bad input, 4 memory, 5 NaN."""
    args = sys.argv[1:] if args is None else args
    if args == ["--version"]:
        sys.exit(print(f"minipeft {__version__}"))
    keep_memory()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        code = parsed(args).run()
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:  # nobody reads on; nor is Python to say so when it ends
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
        code, message = stop.code, f"stopped by {name}: the same command with --resume goes on"
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    err.print(f"minipeft: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
