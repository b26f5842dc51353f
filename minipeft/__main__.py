"""Run the command line: python -m minipeft."""

from .cli import main

main()
