"""Patterns out of a file, on the names of layers: those of `re`, but none goes on forever."""

import math
import re
import warnings
from functools import lru_cache

import regex

LONGEST = 100_000  # the letters of a pattern, times its {counts}
SECONDS = 0.1  # for one name


def matches(field, pattern, path, whole=False):
    """Does the pattern that a field holds occur in a layer's path, or match it whole?"""
    try:
        found = compiled(pattern)
        return (found.fullmatch if whole else found.search)(path, timeout=SECONDS)
    except TimeoutError:
        why = f"takes more than {SECONDS} s on {path!r}: have no repeats within repeats"
    except (re.error, regex.error, OverflowError, RecursionError, ValueError, Warning) as error:
        why = f"is no pattern: {error}"
    raise ValueError(f"{field}={pattern!r:.99} {why}")


@lru_cache
def compiled(pattern):
    """`re` says what is a pattern; `regex`, which can be stopped, looks for it."""
    if len(pattern) > LONGEST or len(pattern) * times(pattern) > LONGEST:
        raise ValueError(f"with its repeats it is more than {LONGEST:,} long")
    if re.search(r"\{(?!\d*,?\d*\})", pattern):
        raise ValueError("a { is for {2} or {2,5}")  # regex has more: {e<=3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # [[: is something else for each
        re.compile(pattern)
    return regex.compile(pattern, regex.V0)


def times(pattern):
    """How often at most its {counts} have something repeated."""
    counts = (re.findall(r"\d+", part) for part in re.findall(r"\{[\d,]+\}", pattern))
    return math.prod(max(map(int, [*numbers, "1"])) for numbers in counts)
