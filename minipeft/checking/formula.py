"""An equation of arrays, written literally, with its usual slips: what a reader's is compared with.

Activations are rows, as in the library: x (T, I).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getsourcelines
from pathlib import Path

import numpy as np

from ..autograd.arraylike import array_of
from ..inspection.source import PACKAGE


@dataclass(frozen=True)
class Argument:
    """Argument of a formula: its shape, such as "T I", and what is drawn.

    neutral: the value for a function without this argument, a number or None: it must be there.
    """

    shape: str
    draw: Callable = lambda rng, *shape: rng.normal(0, 0.7, shape)
    neutral: float | None = None

    def __str__(self):
        axes = self.shape.split()
        shape = f" ({', '.join(axes)}{',' * (len(axes) == 1)})" if axes else ""
        return shape + ", optional" * (self.neutral is not None)


@dataclass(frozen=True)
class Slip:
    """A usual mistake: its name, what it does, the wrong formula, where it was seen in public."""

    name: str
    says: str
    wrong: Callable = field(repr=False)
    seen: str = ""


@dataclass(eq=False)
class Formula:
    """An equation: `right(**arguments)`, its `slips`, and the library's function or class.

    variants: {what differs: formula} of other right answers.
    at: the argument that says which numbers of the result count; "": all.
    reaches: of a mask, the columns of the other arguments that the result depends on.
    view: makes of the result what is compared.
    of_method: see `methods.py`; None: a method does not have this equation.
    promised: how far from the frozen outputs a method may start; None: anywhere.
    """

    name: str
    right: Callable = field(repr=False)
    library: Callable
    arguments: dict[str, Argument]
    at: str = ""
    reaches: Callable = lambda mask: mask
    view: Callable = lambda y, **arguments: y
    of_method: Callable | None = None
    promised: float | None = None
    slips: list[Slip] = field(default_factory=list)
    variants: dict[str, Callable] = field(default_factory=dict)

    @property
    def equation(self) -> str:
        """The equation, as its paper has it."""
        return self.right.__doc__.split("\n")[0]

    @property
    def source(self) -> str:
        """The paper, and the place in it."""
        return self.right.__doc__.split("\n")[1].strip()

    @property
    def says(self) -> str:
        """The equation and its source, in two lines."""
        return f"{self.equation}\n{self.source}"

    @property
    def place(self) -> str:
        """The file and the line of the library that have this equation."""
        lines, first = getsourcelines(self.library)
        starts = (n for n, s in enumerate(lines, first) if s.lstrip().startswith(("def", "class")))
        path = Path(sys.modules[self.library.__module__].__file__).relative_to(PACKAGE.parent)
        return f"{path.as_posix()}:{next(starts)}"

    def expected(self) -> str:
        """Return the names and shapes of the arguments as text."""
        return "; ".join(name + str(argument) for name, argument in self.arguments.items())

    def draw(self, seed: int, sizes: tuple[int, int] = (3, 8), taken=None) -> dict:
        """Return {name: value} of random arguments.

        sizes: the least and the largest length of an axis; if they differ, so do all axes.
        taken: the arguments that a function has; the others are neutral.  None: all.
        """
        rng, (low, high) = np.random.default_rng(seed), sizes
        axes = [*dict.fromkeys(" ".join(a.shape for a in self.arguments.values()).split())]
        different = (low + rng.permutation(high - low + 1)).tolist()
        lengths = dict(zip(axes, [low] * len(axes) if low == high else different)) | {"1": 1}
        values = {}
        for name, argument in self.arguments.items():
            shape = tuple(lengths[axis] for axis in argument.shape.split())
            value = argument.draw(rng, *shape)
            left_out = taken is not None and name not in taken
            values[name] = np.full(shape, argument.neutral) if left_out else value
        return values

    def misshapen(self, values: dict) -> str | None:
        """Return the name of the first value whose shape is not that of its argument, or None.

        An axis has one length in all of them; there may be axes of length 1 in front.
        """
        lengths = {"1": 1}
        for name in filter(values.__contains__, self.arguments):
            axes, shape = self.arguments[name].shape.split(), np.shape(values[name])
            front = len(shape) - len(axes)
            same = [lengths.setdefault(axis, n) == n for axis, n in zip(axes, shape[front:])]
            if front < 0 or set(shape[:front]) - {1} or not all(same):
                return name
        return None

    def compared(self, y, arguments: dict) -> np.ndarray:
        """Return the part of a result that counts, as an array of numbers."""
        y = np.asarray(self.view(as_array(y), **arguments))
        if self.at and y.shape == arguments[self.at].shape:
            y = np.where(arguments[self.at], y, 0)
        return y

    def slip(self, name: str, says: str, wrong: Callable, seen: str = "") -> None:
        """Add a usual mistake."""
        self.slips.append(Slip(name, says, wrong, seen))


FORMULAS: dict[str, Formula] = {}


def formula(library: Callable, arguments: dict, **options) -> Callable[[Callable], Formula]:
    """Return a decorator that makes a Formula of a function, its name and its docstring.

    arguments: {name: shape}, or an Argument for what is not drawn from N(0, 0.7²).
    options: fields of a Formula.
    """

    def decorate(right) -> Formula:
        made = {n: Argument(a) if isinstance(a, str) else a for n, a in arguments.items()}
        name = right.__name__.rstrip("_")  # lambda_: a name that Python has taken
        FORMULAS[name] = Formula(name, right, library, made, **options)
        return FORMULAS[name]

    return decorate


def as_array(y) -> np.ndarray:
    """Return a result as an array: of a tensor of minipeft or of PyTorch, a list or a number."""
    y = array_of(y)
    return np.asarray(y.detach() if hasattr(y, "detach") else y)
