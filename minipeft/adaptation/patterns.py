"""Regular expressions on the paths of layers, which may come from an untrusted file."""

import math
import re
import warnings
from functools import lru_cache

import regex

LONGEST = 100_000  # limit on the characters of a pattern, times its {counts}
SECONDS = 0.1  # time limit for one path


def matches(field: str, pattern: str, path: str, whole: bool = False) -> bool:
    """Return whether a pattern matches somewhere in a path, or, if `whole`, all of it.

    Raises ValueError, which names the field, if the pattern is malformed or takes too long.
    """
    try:
        found = compiled(pattern)
        return bool((found.fullmatch if whole else found.search)(path, timeout=SECONDS))
    except TimeoutError:
        why = f"takes more than {SECONDS} s on {path!r}: do not nest repetitions"
    except (re.error, regex.error, OverflowError, RecursionError, ValueError, Warning) as error:
        why = f"is not a valid pattern: {error}"
    raise ValueError(f"{field}={pattern!r:.99} {why}")


@lru_cache
def compiled(pattern):
    """Return a pattern of the syntax of `re`, compiled by `regex`, which has time limits."""
    if len(pattern) > LONGEST or len(pattern) * repetitions(pattern) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST:,} characters, repetitions included")
    if re.search(r"\{(?!\d*,?\d*\})", pattern):
        # `regex` has others, such as {e<=3}
        raise ValueError("a { must begin a count such as {2} or {2,5}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # `re` warns of [[:, which `regex` reads differently
        re.compile(pattern)
    return regex.compile(pattern, regex.V0)


def repetitions(pattern):
    """Return the product of the largest number in each {count} of a pattern."""
    counts = (re.findall(r"\d+", part) for part in re.findall(r"\{[\d,]+\}", pattern))
    return math.prod(max(map(int, [*numbers, "1"])) for numbers in counts)
