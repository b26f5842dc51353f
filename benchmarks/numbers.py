"""Medians, quartiles and ratios as text."""

from statistics import median, quantiles


def milliseconds(seconds: list[float]) -> str:
    """Return the median in milliseconds, with three digits."""
    return short(1e3 * median(seconds))


def with_quartiles(seconds: list[float]) -> str:
    """Return the median and the quartiles, in milliseconds."""
    low, _, high = quantiles(seconds, method="inclusive") if len(seconds) > 1 else seconds * 3
    return f"{milliseconds(seconds)} [{short(1e3 * low)}–{short(1e3 * high)}]"


def short(number: float) -> str:
    """Return a number with three digits, and no fewer than its integer has."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def ratio(seconds: dict, name: str, to: str = "minipeft") -> float | None:
    """Return the median time of `name` ÷ that of `to`, or None if one was not measured."""
    if not (name in seconds and to in seconds):
        return None
    return median(seconds[name]) / median(seconds[to])


def mebibytes(bytes: int) -> str:
    """Return bytes in MiB."""
    return short(bytes / 2**20)
