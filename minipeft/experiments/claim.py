"""A claim of a document, the contrasts that decide it, and the verdict."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

# 97.5 % quantile of Student's t by degrees of freedom ν; beyond these it is 1.96 + 2.4 / ν
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


class Interval(NamedTuple):
    """A mean over seeds, and its 95 % interval by Student's t."""

    mean: float
    low: float
    high: float


def interval(values) -> Interval:
    """Return the mean and the 95 % interval of one value for each seed.

    A single value is taken as exact: it comes from a computation without a seed.
    """
    values = np.asarray(values, float)
    n, mean = len(values), float(np.mean(values))
    half = (
        T.get(n - 1, 1.96 + 2.4 / (n - 1)) * float(np.std(values, ddof=1)) / n**0.5
        if n > 1
        else 0.0
    )
    return Interval(mean, mean - half, mean + half)


class Rows:
    """The rows of an experiment's results, by name and x."""

    def __init__(self, rows: list[dict]):
        self.rows = rows

    def __call__(self, name: str, score: str, x: float | None = None) -> np.ndarray:
        """Return a score of a row for each seed."""
        matching = [row for row in self.rows if (row["name"], row.get("x")) == (name, x)]
        if not matching:
            raise KeyError(f"there is no row {name!r} with x={x}")
        return np.array(matching[0]["scores"][score])

    def xs(self, name: str) -> list[float]:
        """Return the x of all rows of a name, in order."""
        return sorted(row["x"] for row in self.rows if row["name"] == name)


@dataclass(frozen=True)
class Contrast:
    """A number for each seed that decides a claim: it is positive where the claim holds.

    margin: if it is not 0, the claim is instead that the number is between -margin and margin.
    unit: "points" (of percent: the values are shares), or another one, such as "nats".
    """

    text: str
    values: Callable[[Rows], np.ndarray]
    margin: float = 0.0
    unit: str = "points"

    def verdict(self, rows: Rows) -> str:
        """Return "shown", "contradicted" or "not shown", by the 95 % interval of the mean."""
        _, low, high = interval(self.values(rows))
        if self.margin:
            outside = low > self.margin or high < -self.margin
            inside = -self.margin <= low and high <= self.margin
            return "shown" if inside else "contradicted" if outside else "not shown"
        return "shown" if low > 0 else "contradicted" if high < 0 else "not shown"

    def agree(self, rows: Rows) -> tuple[int, int]:
        """Return how many seeds agree with the claim, and how many there are."""
        values = self.values(rows)
        agreeing = abs(values) <= self.margin if self.margin else values > 0
        return int(agreeing.sum()), len(values)


def difference(
    a: str,
    b: str,
    score: str,
    x: float | None = None,
    margin: float = 0.0,
    behind: float = 0.0,
    unit: str = "points",
) -> Contrast:
    """Return the contrast "a - b" of a score of two rows; behind: by how much a may be below b."""
    at = "" if x is None else f" at {x:g}"
    near = f" + {100 * behind:g} points" if behind else ""
    values = lambda rows: rows(a, score, x) - rows(b, score, x) + behind
    return Contrast(f"{a} − {b}{near}, {score}{at}", values, margin, unit)


@dataclass(frozen=True)
class Claim:
    """What a document says, what the paper measured, and the contrasts that decide it here.

    units: {score: unit}, for scores that are not shares.  xlabel: of the axis x, if rows have an x.
    limits: what the experiment leaves open.
    """

    id: str
    title: str
    statement: str  # what the document says
    source: str  # where it says so
    paper: str  # the paper's figure, with its source
    contrasts: tuple[Contrast, ...]
    setup: str  # what is trained on what
    units: dict[str, str] = field(default_factory=dict)
    xlabel: str = ""
    limits: str = ""

    def decided(self, rows: Rows) -> list[Contrast]:
        """Return the contrasts whose rows are there: a short run may lack some."""
        decided = []
        for contrast in self.contrasts:
            with suppress(KeyError):
                contrast.values(rows)
                decided.append(contrast)
        return decided

    def verdict(self, rows: Rows) -> str:
        """Return the verdict on all contrasts."""
        verdicts = {contrast.verdict(rows) for contrast in self.decided(rows)}
        if {"shown", "contradicted"} <= verdicts:
            return "shown in part, contradicted in part"
        if len(verdicts) == 1:
            return verdicts.pop()
        for verdict in ("shown", "contradicted"):
            if verdict in verdicts:
                return f"{verdict} in part"
        return "not shown"
