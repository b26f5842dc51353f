"""Run the command line: python -m minipeft."""

from .commands.cli import main

main()
