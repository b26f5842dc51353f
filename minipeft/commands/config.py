"""A TOML file of flags: `steps = 300`; a method is a table of its fields, `[lora]`, `rank = 16`."""

import tomllib
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

import tyro

from ..data.files import DataError, read_text


def configured(command, path, methods):
    """The command with what the file says; the flags that it leaves out are as without it.

    methods: those that the command can be told to use, by name.
    """
    try:
        said = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: not TOML: {error}") from None
    given = {f.name: tyro.MISSING if f.default is MISSING else f.default for f in fields(command)}
    tables = {name: said.pop(name) for name in methods if name in said}
    if len(tables) > 1:
        raise ValueError(f"{path}: a command takes one method, not {' and '.join(tables)}")
    for name, table in tables.items():
        given["method"] = methods[name](**values(table, methods[name], f"{path}: {name}"))
    return command(**given | values(said, command, path, methods))


def values(table, cls, where, more=()):
    """What a table says of the fields of a dataclass, each as one of its kind."""
    if not isinstance(table, dict):
        raise ValueError(f"{where} must be a table of fields, not {table!r}")
    kinds, given = get_type_hints(cls), {}
    known = [f.name.replace("_", "-") for f in fields(cls) if f.name != "config"] + [*more]
    for key, value in table.items():
        if (flag := key.replace("_", "-")) not in known:
            near = "".join(f"did you mean {name!r}? " for name in get_close_matches(flag, known, 1))
            raise ValueError(f"{where}: no flag is {key!r}; {near}there is {', '.join(known)}")
        name = flag.replace("-", "_")
        try:
            given[name] = fitted(value, kinds[name])
        except TypeError:
            raise ValueError(f"{where}: {key} = {value!r} must be {told(kinds[name])}") from None
    return given


def fitted(value, kind):
    """The value as one of this kind; a TypeError if it is of another."""
    options, origin = get_args(kind), get_origin(kind)
    if origin in (Union, UnionType):
        for option in options:
            with suppress(TypeError):
                return fitted(value, option)
    elif origin is Literal and value in options:
        return value
    elif origin is tuple and isinstance(value, list):
        return tuple(fitted(one, options[0]) for one in value)
    elif kind is tuple and isinstance(value, list):  # token ids
        return tuple(fitted(one, tuple if isinstance(one, list) else int) for one in value)
    elif type(value) is {Path: str}.get(kind, kind) or kind is float and type(value) is int:
        return kind(value)
    raise TypeError


def told(kind):
    """A kind in words."""
    options = [option for option in get_args(kind) if option is not type(None)]
    if get_origin(kind) is Literal:
        return f"one of {', '.join(options)}"
    if tuple in (kind, get_origin(kind)):
        return "a list"
    if any(map(is_dataclass, options)):
        return "a table of its fields, [lora]"
    words = {int: "a whole number", float: "a number", bool: "true or false"}
    return told(*options) if options else words.get(kind, "a text in quotes")
