"""Standard output and error, which may be closed, full, or unable to encode a character."""

import io
import os
import sys
from contextlib import suppress


def prepare_streams() -> None:
    """Replace a closed stdout or stderr, and escape the characters that its encoding lacks."""
    sys.stdout, sys.stderr = (x or io.StringIO() for x in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard(stream) -> None:
    """Discard what is written to stdout or stderr from now on."""
    with suppress(OSError):  # it has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
