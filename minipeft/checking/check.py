"""Check a reader's own method or function: the laws of all methods, and an equation by name."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from inspect import iscoroutinefunction

import numpy as np

from ..adaptation.method import Method, listed
from ..autograd.tensor import Tensor
from .cases import Case, networks
from .compare import DRAWS, Comparison, of_equation
from .finding import FAILS, NOT_APPLICABLE, NOT_WRITTEN, OK, Finding, NotApplicable, Report, failure
from .formula import Formula
from .formulas import FORMULAS
from .laws import LAWS, Law, severity


def check(thing: Method | type[Method] | Callable, formula: str | None = None) -> Report:
    """Return what every law finds about a method, or about a function of arrays.

    thing: a Method, a class of it, or a function whose arguments have the names of an equation's.
    formula: the name of an equation that it should be, such as "lora"; a function needs one.
    Raises ValueError for an unknown name, for a method that needs arguments or adapts no layer of
    the small networks here, and for a function without a formula, or with other arguments.
    """
    expected = None if formula is None else formula_of(formula)
    if isinstance(thing, type) and issubclass(thing, Method):
        thing = made(thing)
    if isinstance(thing, Method):
        return Report(str(thing), tuple(of_method(thing, expected)))
    if not callable(thing):
        raise ValueError(f"a method or a function is checked, not {thing!r:.40}")
    name = getattr(thing, "__name__", str(thing))
    if iscoroutinefunction(thing):
        raise ValueError(f"{name} is an `async def`, whose call returns no array: write def {name}")
    if expected is None:
        raise ValueError(
            f"{name} is a function of arrays: name the equation that it should be, such as --as "
            f"{name if name in FORMULAS else 'lora'}; the names are {', '.join(FORMULAS)}"
        )
    return Report(name, tuple(Comparison(thing, expected).findings()))


def formula_of(name: str) -> Formula:
    """Return the formula of this name; raise ValueError if there is none."""
    if name not in FORMULAS:
        close = "".join(f"; did you mean {n}?" for n in get_close_matches(name, FORMULAS, 1))
        raise ValueError(f"no equation is called {name!r}{close} The names: {', '.join(FORMULAS)}")
    return FORMULAS[name]


def made(method: type[Method]) -> Method:
    """Return the method with its default fields; raise ValueError if one has no default."""
    try:
        return method()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ValueError(
            f"{method.__name__}() is called without arguments, so each field needs a default: "
            f"{type(error).__name__}: {error}"
        ) from None


# -- methods


def of_method(method: Method, formula: Formula | None) -> list[Finding]:
    """Return the findings on a method; raise ValueError if no method has the formula."""
    if formula and formula.of_method is None:
        names = ", ".join(name for name, f in FORMULAS.items() if f.of_method)
        raise ValueError(f"{formula.name} is of functions, and {method} is a method: use {names}")
    promised = formula.promised if formula else None
    models = fitting(method)

    def cases():
        """Return a case for each network: a copy, since a method may change what it should not."""
        copies = {n: model.map(lambda t: Tensor(t.data.copy())) for n, model in models.items()}
        return {name: Case(method, model, promised) for name, model in copies.items()}

    try:
        for case in cases().values():
            case.fresh()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        first = failure("attached", "start gives the parameters of each layer", error)
        return [first, *(replace(first, law=law.name, says=law.says) for law in LAWS)]
    findings = [of_law(law, cases()) for law in LAWS]
    return findings if formula is None else [*findings, equation_of_method(method, formula)]


def fitting(method: Method) -> dict:
    """Return those of the small networks of which the method adapts a layer.

    Raises ValueError if there are none, and for a pattern that is none.
    """
    found, refusal = {}, None
    for name, model in networks().items():
        try:
            if method.places(model):
                found[name] = model
        except ValueError as error:  # a method may refuse a model: Probe needs a head
            refusal = error
        except KeyboardInterrupt:
            raise
        except BaseException:  # which comes again, and is reported, when it is attached
            found[name] = model
    if not found and refusal:
        raise refusal
    if not found:
        paths = listed(path for model in networks().values() for path, _ in model.modules())
        raise ValueError(f"no layer matches {method.targets!r}; the small networks have {paths}")
    return found


def of_law(law: Law, cases: dict[str, Case]) -> Finding:
    """Return the worst that a law finds on any of the networks."""
    found, reasons = [], []
    for name, case in cases.items():
        try:
            worst, where = law.worst(case)
            found.append((float(worst), f"{where}, in a small {name}"))
        except NotApplicable as reason:
            reasons.append(str(reason))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failed = failure(law.name, law.says, error)
            unwritten = failed.result == NOT_WRITTEN
            return failed if unwritten else replace(failed, why=f"{failed.why}, in a small {name}")
    if not found:
        return Finding(law.name, law.says, NOT_APPLICABLE, why=reasons[0])
    worst, where = max(found, key=severity)
    holds = worst <= law.tolerance
    return Finding(law.name, law.says, OK if holds else FAILS, worst, "" if holds else where)


def equation_of_method(method: Method, formula: Formula) -> Finding:
    """Return whether a method is the equation, at a layer with random parameters."""
    says = formula.says
    try:
        draws = [formula.of_method(method, np.random.default_rng(n)) for n in range(DRAWS)]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return failure("equation", says, error)
    fails = lambda why: Finding("equation", says, FAILS, why=why)
    neutral = {name: argument.neutral for name, argument in formula.arguments.items()}
    needed, has = {name for name, n in neutral.items() if n is None}, draws[0][0]
    if not needed <= has.keys() <= neutral.keys():
        why = f"the equation has {formula.expected()}; the method has {', '.join(has)}"
        return fails(f"{why}: rename its parameters and fields")
    if wrong := formula.misshapen(has):
        return fails(
            f"{wrong} has the shape {np.shape(has[wrong])}, and the equation has "
            f"{wrong}{formula.arguments[wrong]}: hidden states are rows"
        )
    try:
        results = [output() for _, output in draws]
    except Exception as error:
        return failure("equation", says, error)
    in_order = [{n: values.get(n, neutral[n]) for n in neutral} for values, _ in draws]
    return of_equation(formula, [*zip(in_order, results)])
