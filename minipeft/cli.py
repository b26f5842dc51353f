"""The command line: minipeft compare | train | generate | pretrain | verify."""

import sys

import tyro

from .commands.common import err
from .commands.compare import Compare
from .commands.generate import Generate
from .commands.pretrain import Pretrain
from .commands.train import Train
from .commands.verify import Verify
from .parallel import keep_memory
from .train import NonFinite

COMMANDS = {
    "compare": Compare,
    "train": Train,
    "generate": Generate,
    "pretrain": Pretrain,
    "verify": Verify,
}


def main(args=None):
    """Run one command, and exit: 0, 1 an equation fails, 2 usage, 3 bad input, 4 memory, 5 NaN."""
    keep_memory()
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, args=args, prog="minipeft")
    try:
        sys.exit(command.run())
    except (ValueError, OSError) as error:
        code, message = 3, error
    except MemoryError as error:
        code, message = 4, f"out of memory: {error}"
    except NonFinite as error:
        code, message = 5, error
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    err.print(f"minipeft: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
