"""The claims of an equation, with the code and the numbers of both sides."""

from pathlib import Path

import numpy as np
import pytest

from minipeft.equations import EQUATIONS, Differs, equation
from minipeft.inspection.claims import describe

ROOT = Path(__file__).parents[2]
HERE = Path(__file__)


def more(draw):
    yield draw.V, 13


@equation("OWN-1")
def several(draw):
    """x = x
    nowhere"""
    x = 1.0
    x, y = [x, np.inf], np.array([1.0, 2.0])
    yield x, y
    yield (
        np.zeros((2, 3)),
        y[:1],
    )
    yield from more(draw)
    yield Differs(1.0, 2.0)
    yield Differs(x, y) if draw.V == 13 else (x, y)
    yield from zip(range(1), [1])
    x = None  # not what was yielded
    yield "x", "y"
    yield 1.0, 1.0


SIDES = [  # code of both sides, of which a part is on the line of the claim
    ("x, y = [x, np.inf], np.array([1.0, 2.0])",) * 2,
    ("np.zeros((2, 3))", "y[:1]"),
    ("draw.V", "13"),
    ("1.0", "2.0"),
    ("x, y = [x, np.inf], np.array([1.0, 2.0])",) * 2,
    ("zip(range(1), [1])",) * 2,
]


def test_the_code_of_both_sides():
    """Of a variable it is its assignment; after values that are no numbers there is no claim."""
    claims = describe(several, 0)["claims"]
    codes = [(claim["literal"]["code"], claim["library"]["code"]) for claim in claims]
    assert codes == SIDES
    lines = HERE.read_text().splitlines()
    places = [claim["at"].rpartition(":") for claim in claims]
    assert {path for path, *_ in places} == {HERE.as_posix()}
    assert [lines[int(n) - 1].split()[0] for *_, n in places] == ["yield"] * 6
    assert "yield draw.V, 13" in lines[int(places[2][2]) - 1]


def test_numbers_and_verdicts():
    claims = describe(several, 0)["claims"]
    assert claims[0]["literal"] == {"code": SIDES[0][0], "shape": (2,), "first": [1.0, None]}
    assert claims[0]["difference"] is None and not claims[0]["ok"]
    assert claims[1]["literal"]["shape"] == (2, 3) and claims[1]["library"]["shape"] == (1,)
    assert claims[1]["literal"]["first"] == [0.0] * 4 and not claims[1]["ok"]
    assert [claim["claim"] for claim in claims[2:5]] == ["equal", "differ", "differ"]
    assert claims[3]["difference"] == 1.0 and claims[3]["tolerance"] == 1e-8 and claims[3]["ok"]


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda e: e.id)
def test_the_claims_of_every_equation_are_described(equation):
    report, claims = describe(equation, [7, 0]), [*equation.claims([7, 0])]
    assert [d["difference"] for d in report["claims"]] == [claim.error for claim in claims]
    assert all(d["ok"] and d["literal"]["code"] and d["library"]["code"] for d in report["claims"])
    for claim, d in zip(claims, report["claims"]):
        assert d["literal"]["first"] == np.ravel(np.asarray(claim.literal, float))[:4].tolist()
        path, _, line = d["at"].rpartition(":")
        lines = (ROOT / path).read_text().splitlines()
        assert "yield" in lines[int(line) - 1]
    lines = (ROOT / report["file"]).read_text().splitlines()
    assert lines[report["line"] - 1].startswith("def ")
