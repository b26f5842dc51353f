"""The flags of a command, which are the fields of its dataclass and of a method's."""

import re
from argparse import ArgumentParser
from dataclasses import fields
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import subcommand

from ..methods import METHODS, method
from . import COMMANDS, command_class
from .common import Command, did_you_mean, flag_name
from .config import read_config

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
    """Return the command with its flags, or exit: after help with 0, wrong usage with 2."""
    if args and args[0].startswith("--tyro-"):  # shell completion
        commands = [
            Annotated[command_class(name), subcommand(name, prefix_name=False)] for name in COMMANDS
        ]
        return parse_flags(reduce(or_, commands), "minipeft", args)
    check_names(*args)
    name, *flags = args
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    default = {}
    if path := parser.parse_known_args(flags)[0].config:
        methods = METHODS if name == "train" else {}
        default = {"default": read_config(command_class(name), path, methods)}
    return parse_flags(command_class(name), f"minipeft {name}", flags, **default)


def parse_flags(command: type, prog: str, args: list[str], **default) -> Command:
    """Return the command with its flags."""
    return tyro.cli(command, prog=prog, args=args, config=STYLE, registry=REGISTRY, **default)


def check_names(command: str, *args: str) -> None:
    """Raise ValueError for a command, method or flag that does not exist, with one that does."""
    if command not in COMMANDS:
        raise ValueError(
            f"no command is called {command!r}{did_you_mean(command, COMMANDS)} The commands are "
            f"{', '.join(COMMANDS)}: minipeft --help"
        )
    classes, named = [command_class(command)], []
    if command == "train":
        if args and not args[0].startswith("-"):
            method(args[0])  # raises ValueError for an unknown name
        named = [arg for arg in args if arg in METHODS]
        classes += [METHODS[name] for name in named or METHODS]  # a file may have the method
    names = {flag_name(field.name) for cls in classes for field in fields(cls)}
    flags = [arg.partition("=")[0] for arg in args if re.match("--?[A-Za-z]", arg)]
    if flags.count("--adaptation") > 1:  # of other flags, the last is meant
        raise ValueError("--adaptation is given more than once: give it once, with all its values")
    for flag in flags:
        name = flag.lstrip("-").replace("_", "-")
        if new := classes[0].renamed.get(name):
            raise ValueError(f"--{name} was renamed: use --{new}")
        if flag not in ("-h", "--help", *classes[0].short) and (
            name not in names or not flag.startswith("--")
        ):
            hint = did_you_mean(name, names, "--")
            help = " ".join(["minipeft", command, *named[:1], "--help"])
            raise ValueError(f"{command} has no flag {flag}{hint} Its flags: {help}")
