"""Flags in a TOML file: `steps = 300`; a method is a table of its fields, `[lora]`, `rank = 16`."""

import tomllib
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

import tyro

from ..data.files import DataError, read_text
from .common import flag_name


def read_config(command: type, path: Path, methods: dict):
    """Return the command with the flags in the file; flags that it leaves out have their defaults.

    methods: {name: class} of the methods that the command takes as a table.
    """
    try:
        table = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not TOML: {error}") from None
    flags = {f.name: tyro.MISSING if f.default is MISSING else f.default for f in fields(command)}
    tables = {name: table.pop(name) for name in methods if name in table}
    if len(tables) > 1:
        raise ValueError(f"{path} must have one method, not {' and '.join(tables)}")
    for name, of_method in tables.items():
        flags["method"] = methods[name](**read_table(of_method, methods[name], f"{path}: {name}"))
    return command(**flags | read_table(table, command, path, methods))


def read_table(table, cls, where, tables=()):
    """Return {field: value} of a table for the fields of a dataclass, each value of its type.

    Raises ValueError for a key that is neither a field nor the name of one of `tables`.
    """
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table of fields, not {table!r}")
    types, values = get_type_hints(cls), {}
    names = {flag_name(f.name): f.name for f in fields(cls) if f.name != "config"}
    known = [*names, *tables]
    for key, value in table.items():
        flag = key.replace("_", "-")
        if new := getattr(cls, "renamed", {}).get(flag):
            raise ValueError(f"{where}: {key} was renamed: use {new}")
        if flag not in known:
            close = "".join(f"; did you mean {n!r}?" for n in get_close_matches(flag, known, 1))
            raise ValueError(f"{where}: unknown key {key!r}{close} (keys: {', '.join(known)})")
        name = names[flag]
        try:
            values[name] = cast(value, types[name])
        except TypeError:
            must = type_in_words(types[name])
            raise ValueError(f"{where}: {key} = {value!r} must be {must}") from None
    return values


def cast(value, kind):
    """Return a TOML value as the type of a field; raise TypeError for a value of another type."""
    options, origin = get_args(kind), get_origin(kind)
    if origin in (Union, UnionType):
        for option in options:
            with suppress(TypeError):
                return cast(value, option)
    elif origin is Literal and value in options:
        return value
    elif origin is tuple:  # one value is a list of one
        return tuple(cast(v, options[0]) for v in (value if isinstance(value, list) else [value]))
    elif kind is tuple and isinstance(value, list):  # token ids, or words for each label
        return tuple(cast(item, str | int | tuple) for item in value)
    elif type(value) is {Path: str}.get(kind, kind) or kind is float and type(value) is int:
        return kind(value)
    raise TypeError


def type_in_words(kind):
    """Return the type of a field as a TOML file has it, in words."""
    options = [option for option in get_args(kind) if option is not type(None)]
    if get_origin(kind) is Literal:
        return f"one of {', '.join(options)}"
    if tuple in (kind, get_origin(kind)):
        return "a list"
    if any(map(is_dataclass, options)):
        return "a table of its fields, such as [lora]"
    words = {int: "an integer", float: "a number", bool: "true or false"}
    in_words = dict.fromkeys(map(type_in_words, options))
    return " or ".join(in_words) if options else words.get(kind, "a string")
