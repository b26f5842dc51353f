"""Labels as names of classes: one rule for all kinds of files, and for the classes of a head."""

import re
from collections.abc import Iterable
from math import isfinite

WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))(?:\.0+)?")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def class_name(label) -> str | None:
    """Return the name of the class that a label in a file means, or None if it is missing.

    Spaces around a name do not count.  Whole numbers count by value, so 1, 1.0, "1" and "1.0" are
    the class "1"; true, "true" and "True" are the class "true".  An empty label, null and NaN are
    missing.  Raises ValueError for a list, an object or an infinite number.

    >>> [class_name(label) for label in (1, 1.0, "1.0", " pos", True, "TRUE", "", float("nan"))]
    ['1', '1', '1', 'pos', 'true', 'true', None, None]
    """
    if isinstance(label, dict | list) or label in (float("inf"), float("-inf")):
        raise ValueError(f"a label must be a name or a number, not {label!r:.40}")
    if isinstance(label, float) and isfinite(label) and label.is_integer():
        label = int(label)
    name = "" if label is None else str(label).strip()
    if name.lower() in ("true", "false"):
        return name.lower()
    if name.lower() in ("", "nan"):
        return None
    return str(int(whole[1])) if (whole := WHOLE.fullmatch(name)) else name


def fraction(names: Iterable[str]) -> str | None:
    """Return a name that is a number and not whole, if all names are numbers, else None."""
    names = list(names)
    if not all(map(NUMBER.fullmatch, names)):
        return None
    return next((name for name in names if not float(name).is_integer()), None)


def match_classes(labels: Iterable[str], namings: list[list[str]]) -> list[str] | None:
    """Return the first list of names of a head's classes that has all labels, or None.

    >>> match_classes(["1"], [["neg", "pos"], ["0", "1"]])
    ['0', '1']
    """
    return next((names for names in namings if {*labels} <= {*names}), None)
