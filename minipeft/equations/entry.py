"""What an entry of the catalogue is, and what it claims.

An entry draws something, computes it as the paper prints it and as the library does, and yields
both:

    yield literal, ours              equal within 1e-12
    yield literal, ours, EXACT       equal bit for bit; or within any other tolerance
    yield Differs(wrong, ours)       what a document says, and what is so, are clearly apart

Its docstring is the equation and, below it, the source: 000 to 003 are the documents, and X1 to X25
what is wrong in them, which is corrected here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .draw import Draw

EXACT = 0.0


@dataclass(frozen=True)
class Equal:
    literal: object = field(repr=False)
    ours: object = field(repr=False)
    tolerance: float = 1e-12

    @property
    def error(self):
        """The largest difference; not a number where the two can't be compared."""
        a, b = np.asarray(self.literal, float), np.asarray(self.ours, float)
        return float(abs(a - b).max()) if a.shape == b.shape and a.size else np.nan

    @property
    def holds(self):
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Differs(Equal):
    tolerance: float = 1e-8  # ten thousand times what equal things may be apart

    @property
    def holds(self):
        return self.error > self.tolerance


@dataclass(frozen=True)
class Result:
    id: str
    formula: str
    source: str
    draws: int
    worst: float  # the largest error of all that should be equal
    ok: bool
    why: str = ""  # what failed first, and with which seed it will again


@dataclass(frozen=True)
class Equation:
    id: str
    formula: str
    source: str
    entry: Callable = field(repr=False)

    def claims(self, seed):
        for claim in self.entry(Draw(seed)):
            yield claim if isinstance(claim, Equal) else Equal(*claim)

    def verify(self, seeds):
        """One draw for each seed.  An error raised in an entry is an entry that fails."""
        errors, why = [], []
        for seed in seeds:
            try:
                for n, claim in enumerate(self.claims(seed), 1):
                    errors += [claim.error] * (type(claim) is Equal)
                    if not claim.holds:
                        why.append(f"seed {seed}, claim {n}: {claim}, but it is {claim.error:.1e}")
            except Exception as error:
                why.append(f"seed {seed}: {type(error).__name__}: {error}")
        if not errors:
            why.append("nothing was compared")
        worst = float(np.max(errors)) if errors else np.nan
        first = why[0] if why else ""
        return Result(self.id, self.formula, self.source, len(seeds), worst, not why, first)


def equation(id):
    """Make an entry of the generator below."""
    return lambda entry: Equation(id, *map(str.strip, entry.__doc__.split("\n", 1)), entry)
