"""The command line: one command, its exit code, and the help of all."""

import re
import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from .. import __version__
from ..data.files import DataError
from ..hf import CheckpointError
from ..training.interrupt import Interrupted
from ..training.lbfgs import NotConverged
from ..training.parallel import keep_memory
from ..training.trainer import NonFinite
from . import COMMANDS
from .streams import discard, prepare_streams

HELP = """Parameter-efficient fine-tuning of frozen language models, in NumPy.

Flags of a command: minipeft train --help
Flags in a TOML file: minipeft train --config run.toml
Shell completion: eval "$(minipeft --tyro-print-completion bash)"
"""


class Terminated(KeyboardInterrupt):
    """Raised by SIGTERM: no SystemExit, which a file of the reader's own may raise, too."""

    code = 128 + signal.SIGTERM


def terminate(number, frame):
    """Raise Terminated: the handler of SIGTERM."""
    raise Terminated


def run(args: list[str]) -> int | None:
    """Run one command; return its exit code."""
    try:
        if not args or re.match("-(?!-tyro-)", args[0]):
            parse_no_command(args)
        from .arguments import parse  # here, as tyro and rich take longer than the help of all

        return parse(args).run()
    except (SystemExit, Terminated) as stop:  # the first after the help
        return stop.code


def parse_no_command(args: list[str]) -> None:
    """Print the help of all commands, the version or what is wrong, and exit."""
    style = RawDescriptionHelpFormatter
    parser = ArgumentParser("minipeft", description=HELP, formatter_class=style)
    parser.add_argument("--version", action="version", version=f"minipeft {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary)
    parser.parse_args(args)


def main(args: list[str] | None = None) -> None:
    """Run one command and exit.

    Exit codes: 0 success, 1 an equation or a law fails, 2 wrong usage, 3 a file or folder can't be
    read or written, 4 out of memory, 5 the loss is not finite, 130 and 143 stopped by SIGINT and
    SIGTERM.
    """
    prepare_streams()
    keep_memory()
    signal.signal(signal.SIGTERM, terminate)
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
    from .common import print_note

    print_note(f"minipeft: {message}")
    sys.exit(code)
