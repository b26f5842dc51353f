"""Counts and durations in words, for messages."""


def count(n: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 step", "2,000 steps"."""
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return a time, rounded, in words: "40 seconds", "12 minutes", "3 hours"."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * size:
            return count(round(seconds / size), unit)
    return count(max(1, round(seconds)), "second")
