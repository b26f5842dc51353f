"""Python files of the reader's own, which are named on the command line to be run."""

import linecache
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ..data.files import DataError, check_file


def load_file(path: Path) -> ModuleType:
    """Run a Python file of the reader's own and return its module; nothing is written.

    It may import other files of its folder.  Its module has the absolute path as its name, which
    no other module has.
    Raises DataError if there is no such file, for a name that does not end in .py, and for an error
    in the file, with its line.
    """
    check_file(path)
    if path.suffix != ".py":
        raise DataError(f"{path} is not a Python file: the name of one ends in .py")
    module = ModuleType(str(path.resolve()))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where a dataclass looks for the names in its fields
    linecache.checkcache(str(path))  # another file may have had this name, in another folder
    settings = sys.dont_write_bytecode, [*sys.path]
    sys.dont_write_bytecode = True
    sys.path.append(str(path.resolve().parent))
    try:
        exec(compile(path.read_bytes(), path, "exec"), vars(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[module.__name__]
        raise DataError(f"{path}{place(error, path)}: {describe(error)}") from error
    finally:
        sys.dont_write_bytecode, sys.path[:] = settings
    return module


def place(error: BaseException, path: Path) -> str:
    """Return ", line N", the last line of the file that an error came from, or "" if none is known.

    In another file that this one imports, a syntax error has a line, but not of this file.
    """
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    return f", line {lines[-1]}" if lines and lines[-1] else ""


def describe(error: BaseException) -> str:
    """Return the type and the message of an error in one line."""
    message = error.msg if isinstance(error, SyntaxError) else error
    return f"{type(error).__name__}: {message}".splitlines()[0].removesuffix(": ")
