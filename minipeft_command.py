"""The program `minipeft`: outside the package, to heed signals while that is imported."""

import signal
import sys


def main():
    """`minipeft.cli.main`; Ctrl-C and SIGTERM leave nothing half-written, and exit 130, 143."""
    for stop in signal.SIGINT, signal.SIGTERM:
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    from minipeft.cli import main

    main()


if __name__ == "__main__":
    main()
