"""Every equation holds, and every claim of every equation fails if the library is slightly off."""

import inspect
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipeft import equations
from minipeft.equations import EQUATIONS, OPEN, Differs, Equal, Equation, verify
from minipeft.equations.catalogue import SECTIONS
from minipeft.equations.corrections import CORRECTIONS
from minipeft.equations.entry import equation as make_equation
from tests.support.claims import spoil

REQUIRED = """
    EQ-ERM EQ-FT EQ-LIGHT
    AT-1 AT-2 AT-3 AT-4 AT-5
    PF-1 PF-2 PF-3 PF-4 PF-5 PF-6 PF-7 PF-8 PF-9 PF-10 PF-11 PF-13 PF-14 PF-15 PF-16 PF-17
    PR-1 PR-2 PR-3 PR-4 PR-5 PR-6 PR-7 PR-8 PR-9 PR-11
    PT-1 PT-2 PT-3 PT-4 PT-5
    P2-1 P2-2 P2-3 P2-4
    AD-1 AD-2 AD-3 AD-4 AD-5 AD-6 AD-7 AD-8
    LO-1 LO-2 IA-1 BF-1 LN-1
    HE-1 1.15
    PB-1 PB-2 PB-3 PB-4 PB-5 PB-6
    LL-1 LL-2 LL-3 LL-4 LL-5 LL-6
    ED-1 ED-2 ED-3 PF-12
    PLM-1 PLM-2 PLM-3 PLM-4
    VB-1 VB-2 VB-3 VB-4 VB-5 IC-1 EN-1
    DS-1 DS-2
    RL-1 RL-2 RL-3 RL-4 RL-5 RL-6 RL-7 RL-8 RL-9 RL-10
    MT-1 MT-2 MT-3 MT-4
    ME-1 ME-2 ME-3 ME-4 ME-5 ME-6
""".split()

every = pytest.mark.parametrize("equation", EQUATIONS, ids=lambda e: e.id)
seeds = st.integers(0, 2**32 - 1)


def test_each_equation_is_present_once_and_in_order():
    assert [e.id for e in EQUATIONS] == REQUIRED


def test_every_correction_is_cited_by_its_equation():
    assert [*CORRECTIONS] == [f"X{n}" for n in range(1, 26)]
    sources = {e.id: e.source for e in EQUATIONS} | {one["id"]: one["source"] for one in OPEN}
    for name, correction in CORRECTIONS.items():
        if correction.equation:
            source = sources[correction.equation].replace("X1 to X4", "X1 X2 X3 X4")
            assert re.search(rf"\b{name}\b", source), (name, correction.equation)


def test_a_source_may_be_longer_than_a_line():
    def wraps(draw):
        """x = x
        Somebody 2000, §1;
        Somebody 2001"""
        yield 1.0, 1.0

    wraps = make_equation("X")(wraps)
    assert (wraps.formula, wraps.source) == ("x = x", "Somebody 2000, §1; Somebody 2001")


@every
def test_has_a_formula_and_a_source(equation):
    assert all(line and "\n" not in line for line in (equation.formula, equation.source))


@every
@given(seeds)
@settings(max_examples=5)
def test_holds(equation, seed):
    result = equation.verify([seed])
    assert result.ok, result.why


# -- the claims themselves ----------------------------------------------------


@every
@given(seeds)
@settings(max_examples=3)
def test_every_claim_notices_a_millionth(equation, seed):
    claims = list(equation.claims(seed))
    assert all(claim.holds for claim in claims)
    assert not any(spoil(claim).holds for claim in claims)


def test_values_that_cannot_be_compared_do_not_hold():
    for kind in (Equal, Differs):
        assert not kind(np.nan, np.nan).holds
        assert not kind(np.nan, 1.0).holds
        assert not kind(np.ones(3), np.zeros(2)).holds
        assert not kind(np.ones(3), np.zeros((3, 1))).holds
        assert not kind([], []).holds
    assert not Equal(0.0, 1e-11).holds
    assert not Equal(0.0, 1e-300, tolerance=0.0).holds
    assert not Differs(0.0, 1e-9).holds
    assert Differs(0.0, 1e-7).holds


def test_an_exception_and_an_equation_without_claims_are_failures():
    def breaks(draw):
        yield 1.0, 1.0
        raise ZeroDivisionError("by zero")

    result = Equation("X", "x = x", "nowhere", breaks).verify([3])
    assert not result.ok and result.why == "seed 3: ZeroDivisionError: by zero"
    assert not Equation("X", "x = x", "nowhere", lambda draw: iter(())).verify([3]).ok


def test_what_is_no_equation_and_no_claim_is_refused():
    def one_line(draw):
        """x = x"""
        yield 1.0, 1.0

    def returns(draw):
        """x = x
        nowhere"""
        return 1.0, 1.0

    def yields_one_side(draw):
        """x = x
        nowhere"""
        yield 1.0

    for function in (one_line, returns, lambda draw: None):
        with pytest.raises(ValueError, match="^MY-1: an equation is a function that yields"):
            make_equation("MY-1")(function)
    result = make_equation("MY-1")(yields_one_side).verify([0])
    assert not result.ok and result.why.startswith("seed 0: TypeError: an equation yields")
    assert result.why.endswith("this one yields a float")


def test_the_same_seed_gives_the_same_draws():
    first, again = ([(r.id, r.worst, r.ok) for r in verify(draws=1, seed=5)] for _ in range(2))
    assert first == again and all(ok for _, _, ok in first)
    assert [e.verify([6]).worst for e in EQUATIONS[:9]] != [worst for _, worst, _ in first[:9]]


def test_literal_functions_use_nothing_of_the_library():
    """A function without an argument model, head or γ of the library is literal."""
    literal = [
        f
        for section in (equations.literal, *SECTIONS)
        for f in vars(section).values()
        if inspect.isfunction(f) and f.__module__ == section.__name__
        if not {"model", "head", "γ"} & set(inspect.signature(f).parameters)
    ]
    assert len(literal) > 40
    for f in literal:
        used = [f.__globals__.get(name) for name in names(f.__code__)]
        modules = {getattr(value, "__module__", None) for value in used} - {None}
        assert not {m for m in modules if m.startswith("minipeft")} - {
            "minipeft.equations.literal",
            f.__module__,
        }, f


def names(code):
    """Return the names that a code object and the functions inside it use."""
    inner = [names(c) for c in code.co_consts if inspect.iscode(c)]
    return {*code.co_names}.union(*inner)
