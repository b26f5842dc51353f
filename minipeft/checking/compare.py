"""A function of a reader's own beside an equation: is it equal, or which slip is it?"""

import sys
from collections.abc import Callable
from dataclasses import replace
from inspect import Parameter, signature

import numpy as np

from ..adaptation.adaptation import parameter
from ..autograd.tensor import Tensor, grad
from .finding import FAILS, NOT_APPLICABLE, OK, Finding, NotApplicable, failure
from .formula import Formula, as_array
from .laws import severity

DRAWS = 6


def taken_by(f: Callable, formula: Formula) -> list[str]:
    """Return which arguments of a formula a function has.

    Raises ValueError for an argument that the formula does not have, or that is missing.
    """
    parameters = signature(f).parameters
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values()):
        return list(formula.arguments)
    needed = [name for name, a in formula.arguments.items() if a.neutral is None]
    unknown = [
        name
        for name, p in parameters.items()
        if name not in formula.arguments and p.default is Parameter.empty
    ]
    if unknown or not set(needed) <= set(parameters):
        has = ", ".join(parameters) or "none"
        raise ValueError(
            f"--as {formula.name} calls a function by the letters of its equation, "
            f"{formula.equation}; activations are rows.  Its arguments: {formula.expected()}.  "
            f"{getattr(f, '__name__', f)} has {has}: rename them"
        )
    return [name for name in formula.arguments if name in parameters]


def call(f: Callable, arguments: dict):
    """Return f(**arguments), of arrays or, where it fails with them, of tensors of PyTorch.

    PyTorch is not imported here: it is used if the file of f has imported it.
    """
    try:
        return f(**arguments)
    except NotImplementedError:
        raise
    except Exception:
        if "torch" not in sys.modules:
            raise
    tensor = sys.modules["torch"].from_numpy
    return f(**{n: tensor(a) if isinstance(a, np.ndarray) else a for n, a in arguments.items()})


def copies(arguments: dict, dtype=None) -> dict:
    """Return the arguments with copies of the arrays, those of floats in this type."""

    def copied(a):
        if not isinstance(a, np.ndarray):
            return a
        return a.astype(dtype) if dtype and a.dtype.kind == "f" else a.copy()

    return {name: copied(a) for name, a in arguments.items()}


class Comparison:
    """Results of a function on random draws, beside those of an equation and its slips."""

    def __init__(self, f: Callable, formula: Formula, draws: int = DRAWS):
        self.f, self.formula, self.taken = f, formula, taken_by(f, formula)
        self.arguments = [formula.draw(seed, taken=self.taken) for seed in range(draws)]

    def given(self, arguments: dict):
        """Return the function's result for copies of those of the arguments that it has."""
        return call(self.f, copies({name: arguments[name] for name in self.taken}))

    def findings(self) -> list[Finding]:
        """Return what each law of a function finds."""
        laws = self.equation, self.derivatives, self.rows, self.padding, self.frozen, self.float32
        with np.errstate(all="ignore"):
            first, *others = map(self.found, laws)
        failing = [f.law for f in others if f.law in ("rows", "padding") and f.result == FAILS]
        if failing and first.why.startswith("Your result"):
            first = replace(first, why=f"{first.why} Fix `{failing[0]}` first.")
        return [first, *others]

    def found(self, law: Callable) -> Finding:
        """Return what a law finds; an error of the reader's function fails."""
        name = law.__name__
        says = self.formula.says if name == "equation" else law.__doc__
        try:
            return law()
        except NotApplicable as reason:
            return Finding(name, says, NOT_APPLICABLE, why=str(reason))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            finding = failure(name, says, error)
            shapes = {n: np.shape(a) for n, a in self.arguments[0].items() if n in self.taken}
            called = ", ".join(f"{n} {shape}" if shape else n for n, shape in shapes.items())
            why = f"{finding.why}; it was called with {called}"
            return replace(finding, why=why) if finding.result == FAILS else finding

    def equation(self) -> Finding:
        """it is the equation"""
        pairs = [(a, self.given(a)) for a in self.arguments]
        return of_equation(self.formula, pairs, self.smallest)

    def smallest(self):
        """Return arguments of few numbers, each of one digit, and its wrong result; or None."""
        for seed in range(20):
            arguments = self.formula.draw(seed, (2, 2), self.taken)
            for name, a in arguments.items():
                if isinstance(a, np.ndarray) and a.dtype.kind == "f":
                    arguments[name] = a.round(1)
            y = self.given(arguments)
            if not equal(self.formula, self.formula.right, arguments, y):
                return arguments, y
        return None

    def derivatives(self) -> Finding:
        """gradients are the derivatives of the equation by complex steps"""
        arguments = self.arguments[0]
        names = [n for n in self.taken if np.asarray(arguments[n]).dtype.kind == "f"]
        names = [n for n in names if isinstance(arguments[n], np.ndarray) and n != "mask"]
        rng = np.random.default_rng(0)
        vs = {n: rng.normal(size=arguments[n].shape) for n in names}
        right = self.right()
        u = rng.normal(size=np.shape(right(*arguments.values())))
        gradients = autograd(self.f, {n: arguments[n] for n in self.taken}, names, u)
        if gradients is None:
            raise NotApplicable("it takes arrays, which have no gradient")
        found = [(0.0, "")]
        for name in names:
            moved = arguments | {name: arguments[name] + 1e-30j * vs[name]}
            true = (u * right(*moved.values())).sum().imag / 1e-30
            far = abs((gradients[name] * vs[name]).sum() - true) / max(1, abs(true))
            found.append((far, f"the gradient of {name}"))
        return self.finding("derivatives", *max(found, key=severity))

    def right(self) -> Callable:
        """Return the equation, or the variant of it, that the function is."""
        pairs = [(a, self.given(a)) for a in self.arguments]
        for right in (self.formula.right, *self.formula.variants.values()):
            if all(equal(self.formula, right, *pair) for pair in pairs):
                return right
        raise NotApplicable("not checked, because `equation` fails")

    def rows(self) -> Finding:
        """each text of a batch gets what it gets alone"""
        axes = [(n, self.formula.arguments[n].shape.split()[:1]) for n in self.taken]
        arguments = self.arguments[0]
        y = as_array(self.given(arguments))
        if all(s != ["B"] for _, s in axes):
            raise NotApplicable("the function takes one text, so there is no batch to compare")
        if not y.ndim:
            raise NotApplicable("the result is one number for the whole batch")
        worst = 0.0
        for i in range(len(y)):
            part = lambda n, s, i=i: arguments[n][i : i + 1] if s == ["B"] else arguments[n]
            alone = {n: part(n, s) for n, s in axes}
            worst = np.maximum(worst, abs(as_array(call(self.f, alone))[0] - y[i]).max())
        return self.finding("rows", worst, "a result depends on other texts of the batch")

    def padding(self) -> Finding:
        """numbers at padding do not change what is real"""
        if "mask" not in self.taken:
            raise NotApplicable("it has no mask")
        worst, changed = 0.0, False
        for arguments in self.arguments:
            other, mask = copies(arguments), arguments["mask"] != 0
            for name, a in other.items():
                if name != "mask" and np.shape(a)[:2] == mask.shape and a.dtype.kind == "f":
                    a[~self.formula.reaches(mask)] += 3.0
                    changed = True
            y, z = (self.formula.compared(self.given(a), arguments) for a in (arguments, other))
            worst = np.maximum(worst, abs(y - z).max(initial=0))
        if not changed:
            raise NotApplicable("it has no numbers at padding")
        return self.finding("padding", worst, "what is at padding changes a result: use the mask")

    def frozen(self) -> Finding:
        """its arguments are the same after the call"""
        before = {name: self.arguments[0][name] for name in self.taken}
        after = copies(before)
        call(self.f, after)
        arrays = [name for name, a in before.items() if isinstance(a, np.ndarray)]
        changed = [name for name in arrays if not np.array_equal(before[name], after[name])]
        return self.finding("frozen", float(len(changed)), f"it changes {', '.join(changed)}")

    def float32(self) -> Finding:
        """arguments of float32 give a result of float32"""
        y = self.given(copies(self.arguments[0], np.float32))
        if isinstance(y, (float, int, list)) or (y := as_array(y)).dtype.kind != "f":
            raise NotApplicable("its result is not an array of floats")
        kinds = {n: np.asarray(self.arguments[0][n]).dtype.kind for n in self.taken}
        x = next((name for name, kind in kinds.items() if kind == "f"), "x")
        why = (
            f"The result is {y.dtype}: np.zeros(…) without dtype={x}.dtype is float64, and so are "
            "np.sqrt(2) and a quotient of mask.sum(1)"
        )
        return self.finding("float32", float(y.dtype != np.float32), why)

    def finding(self, law: str, worst: float, why: str) -> Finding:
        """Return the finding for the largest error of a law of this class."""
        holds = worst <= 1e-8
        says = getattr(type(self), law).__doc__
        return Finding(law, says, OK if holds else FAILS, float(worst), "" if holds else why)


def autograd(f: Callable, arguments: dict, names: list, u) -> dict | None:
    """Return {name: gradient of Σ u f}, of PyTorch's tensors or of minipeft's; None: of neither."""
    y = call(f, arguments)
    if hasattr(y, "backward") and not isinstance(y, Tensor):  # PyTorch's
        tensor = sys.modules["torch"].tensor
        made = {n: tensor(a) if isinstance(a, np.ndarray) else a for n, a in arguments.items()}
        for name in names:
            made[name].requires_grad_(True)
        f(**made).backward(tensor(u))
        return {n: np.zeros(1) if made[n].grad is None else as_array(made[n].grad) for n in names}
    leaves = {n: parameter(arguments[n]) for n in names}
    try:
        y = f(**arguments | leaves)
    except Exception:
        y = None
    if not isinstance(y, Tensor):
        return None
    if not y.requires_grad:
        return {n: np.zeros(1) for n in names}
    return dict(zip(names, grad(y, list(leaves.values()), [u])))


def equal(formula: Formula, right: Callable, arguments: dict, y) -> bool:
    """Return whether a result is that of a formula: within 1e-9 of its size, float32 1e-4."""
    y = formula.compared(y, arguments)
    z = formula.compared(right(*arguments.values()), arguments)
    if y.shape != z.shape or y.dtype.kind not in "biuf":
        return False
    tolerance = 1e-4 if y.dtype in (np.float32, np.float16) else 1e-9
    return bool(abs(y - z).max(initial=0) <= tolerance * max(1.0, abs(z).max(initial=0)))


def of_equation(formula: Formula, pairs: list, smallest: Callable = lambda: None) -> Finding:
    """Return whether the results are those of the equation, or else of which slip.

    pairs: (arguments, result).  smallest: returns such a pair, of few numbers, or None.
    """
    says = formula.says
    is_all = lambda right: all(equal(formula, right, *pair) for pair in pairs)
    finding = lambda result, why="": Finding("equation", says, result, largest(formula, pairs), why)
    if is_all(formula.right):
        return finding(OK)
    for name, right in formula.variants.items():
        if is_all(right):
            return Finding("equation", says, OK, why=name)
    there = f"Compare with {formula.place}."
    for slip in formula.slips:
        if is_all(slip.wrong):
            seen = f" See {slip.seen}." if slip.seen else ""
            return finding(FAILS, f"{slip.name}: {slip.says}.{seen} {there}")
    if formula.view is Formula.view and is_all(lambda *a: np.transpose(formula.right(*a))):
        return finding(FAILS, f"the result is transposed: activations are rows. {there}")
    return finding(FAILS, f"{difference(formula, *(smallest() or pairs[0]))} {there}")


def largest(formula: Formula, pairs: list) -> float:
    """Return the largest difference from the equation; NaN if the shapes differ."""
    worst = 0.0
    for arguments, y in pairs:
        z = formula.compared(formula.right(*arguments.values()), arguments)
        y = formula.compared(y, arguments)
        far = abs(y - z).max(initial=0) if y.shape == z.shape else np.nan
        worst = np.maximum(worst, far)
    return float(worst)


def difference(formula: Formula, arguments: dict, y) -> str:
    """Return in words where a result differs most from the equation, for these arguments."""
    y = formula.compared(y, arguments)
    z = formula.compared(formula.right(*arguments.values()), arguments)
    numbers = lambda a: np.array2string(
        np.asarray(a), separator=", ", max_line_width=10**6, precision=3, suppress_small=True
    ).replace("\n", "")
    values = ", ".join(
        f"{name} = {numbers(a)}"
        for name, a in arguments.items()
        if np.size(a) <= 8 and isinstance(a, (np.ndarray, float, int))
    )
    if y.shape != z.shape:
        return f"Your result has the shape {y.shape}; the equation gives {z.shape}."
    at = np.unravel_index(np.argmax(abs(y - z)), z.shape)
    where = f" at {list(map(int, at))}" if at else ""
    text = f"Your result{where} is {y[at]:.4g}; the equation gives {z[at]:.4g}"
    return f"{text}, for {values}." if values else f"{text}."
