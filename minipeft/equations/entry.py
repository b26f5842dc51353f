"""Equations as tests: what an equation is, and what it claims.

An equation is a generator. It draws sizes, arrays and networks, computes a quantity as the paper
prints it and as the library computes it, and yields both:

    yield literal, library              equal within 1e-12
    yield literal, library, EXACT       equal bit for bit; or within any other tolerance
    yield Differs(wrong, library)       a wrong formula and the library differ clearly

Its docstring is the formula and, on the lines below it, the source. `docs/sources.md` lists the
sources, and X1 to X25, which are errors in some of them that the equations here correct.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import isgeneratorfunction, signature

import numpy as np

from .draw import Draw

EXACT = 0.0


@dataclass(frozen=True)
class Equal:
    """The claim that two values are equal within a tolerance."""

    literal: object = field(repr=False)
    library: object = field(repr=False)
    tolerance: float = 1e-12

    @property
    def sides(self) -> list[np.ndarray]:
        """Both values as arrays of floats; raises TypeError for complex numbers."""
        if np.iscomplexobj(self.literal) or np.iscomplexobj(self.library):
            raise TypeError("a side is complex: yield .real and .imag of both, each as a claim")
        return [np.asarray(side, float) for side in (self.literal, self.library)]

    @property
    def error(self) -> float:
        """The largest absolute difference; NaN if the shapes differ or there is nothing in them."""
        a, b = self.sides
        return float(abs(a - b).max()) if a.shape == b.shape and a.size else np.nan

    @property
    def holds(self) -> bool:
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Differs(Equal):
    """The claim that two values differ by more than a tolerance."""

    tolerance: float = 1e-8  # ten thousand times the tolerance of Equal

    @property
    def holds(self):
        return self.error > self.tolerance


@dataclass(frozen=True)
class Result:
    """Result of verifying an equation on some draws."""

    id: str
    formula: str
    source: str
    draws: int
    worst: float  # the largest error of the values that should be equal
    ok: bool
    why: str = ""  # the first failure, with its seed


@dataclass(frozen=True)
class Equation:
    """An equation of a paper, and the generator of its claims."""

    id: str
    formula: str
    source: str
    generator: Callable = field(repr=False)

    def claims(self, seed) -> Iterator[Equal]:
        """Yield the claims on the draw of one seed."""
        yield from map(as_claim, self.generator(Draw(seed)))

    def verify(self, seeds: Sequence) -> Result:
        """Check all claims on one draw for each seed; an exception is a failure too."""
        errors, failures = [], []
        for seed in seeds:
            try:
                for n, claim in enumerate(self.claims(seed), 1):
                    errors += [claim.error] * (type(claim) is Equal)
                    if not claim.holds:
                        failures.append(
                            f"seed {seed}, claim {n}: expected {claim}; the difference is "
                            f"{claim.error:.1e}"
                        )
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # sys.exit(), too
                failures.append(f"seed {seed}: {type(error).__name__}: {error}")
        if not errors:
            failures.append("the equation claims no equality")
        worst = float(np.max(errors)) if errors else np.nan
        failure = failures[0] if failures else ""
        return Result(self.id, self.formula, self.source, len(seeds), worst, not failure, failure)


def as_claim(value) -> Equal:
    """Return what an equation yields as a claim; raise TypeError for anything but a claim."""
    if isinstance(value, Equal):
        return value
    if isinstance(value, tuple | list) and len(value) in (2, 3):
        return Equal(*value)
    raise TypeError(
        "an equation yields `literal, library`, and perhaps a tolerance, or Differs(wrong, "
        f"library); this one yields a {type(value).__name__}"
    )


def equation(id: str) -> Callable[[Callable], Equation]:
    """Return a decorator that makes an Equation of a generator and its docstring.

    Raises ValueError for an id that is no text, and for a function that yields nothing, does not
    take one argument, the draw, or has no docstring of two lines.
    """
    if not isinstance(id, str):
        raise ValueError(f'@equation({id!r:.40}): an id is a text: write @equation("MY-1")')

    def decorate(generator):
        formula, _, source = (generator.__doc__ or "").strip().partition("\n")
        if not source or not isgeneratorfunction(generator):
            raise ValueError(
                f"{id}: an equation is a function that yields `literal, library`, with a docstring "
                "of two lines, the formula and the source"
            )
        try:
            signature(generator).bind("a draw")
        except TypeError:
            raise ValueError(
                f"{id}: {generator.__name__}{signature(generator)} is called with a draw of random "
                f"inputs: write def {generator.__name__}(draw)"
            ) from None
        return Equation(id, formula.strip(), " ".join(source.split()), generator)

    return decorate
