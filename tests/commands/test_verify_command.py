"""minipeft verify: what it prints, some equations alone, corrections, files of the reader's own."""

import json
import re

import numpy as np
import pytest

from minipeft.commands import verify as command
from minipeft.equations import EQUATIONS, OPEN, Result
from minipeft.equations.corrections import CORRECTIONS

OWN = '''
import minipeft as mp
from minipeft.equations import EXACT, Differs, columns, equation, watch


@equation("MY-1")
def lora(draw):
    """h = W₀ x + (α/r) B A x
    Hu et al. 2021, eq. 3"""
    _, θ, words, γ = case = draw.case(mp.LoRA(rank=2, alpha=3))
    x, y = watch(case[0], words, γ)["blocks.0.attn.q"]
    (A, B), q = columns(γ)[0], θ.blocks[0].attn.q
    yield q.W @ x + q.b + 3 / 2 * B @ A @ x, y
    yield Differs(q.W @ x + q.b, y)
'''
FALSE = '''

@equation("MY-2")
def false(draw):
    """1 = 2
    nowhere"""
    yield 1.0, 1.0 + draw.size(1, 2)


@equation("MY-3")
def breaks(draw):
    """x = x
    nowhere"""
    yield draw.V, draw.V, EXACT
    raise KeyError("lost")
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a file of equations to the current folder."""
    monkeypatch.chdir(tmp_path)
    return (tmp_path / "mine.py").write_text


def test_every_equation_and_every_correction_is_in_the_json(capsys, run):
    assert run("verify", "--draws", 1, "--seed", 0, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    entries, unverified = report["equations"][: -len(OPEN)], report["equations"][-len(OPEN) :]
    assert [e["id"] for e in entries] == [e.id for e in EQUATIONS]
    assert all(e["ok"] and e["source"] and isinstance(e["worst"], float) for e in entries)
    assert [(e["id"], e["ok"], e["draws"]) for e in unverified] == [
        (e["id"], None, 0) for e in OPEN
    ]
    assert {c["id"]: c["wrong"] for c in report["corrections"]} == {
        id: c.wrong for id, c in CORRECTIONS.items()
    }
    assert {c["ok"] for c in report["corrections"] if c["equation"]} == {True}
    assert {c["ok"] for c in report["corrections"] if not c["equation"]} == {None}


def test_the_text_has_the_open_equations_and_the_corrections(capsys, monkeypatch, run):
    monkeypatch.setattr(command, "EQUATIONS", EQUATIONS[:3])
    assert run("verify", "--draws", 1, "--seed", 0) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "open" in printed and OPEN[0]["why"].split()[0] in printed
    assert "3 ok, 0 fail, 1 open (not verified); random draws of each: 1" in printed
    assert all(f"{id} wrong: " in printed for id in CORRECTIONS)
    assert "25 corrections of documents: docs/sources.md" in printed


def test_the_exit_code_is_1_if_an_equation_fails(capsys, monkeypatch, run):
    monkeypatch.setattr("minipeft.autograd.ops.np.exp", lambda x, out=None: np.exp2(x, out=out))
    assert run("verify", "--draws", 1, "--seed", 0, "--json") == 1


def test_an_error_that_is_not_a_number_is_shown(capsys, monkeypatch, run):
    broken = Result("EQ-0", "x = x", "nowhere", 1, np.nan, False, "not finite")
    monkeypatch.setattr(command, "verify", lambda *args: [broken])
    assert run("verify") == 1
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "EQ-0" in line)
    assert "nan" in row and "fails" in row and printed.count(" nan ") == 1
    assert "not finite" in printed and "0 ok, 1 fail" in printed


ONLY = {  # ids: the equations and the corrections that are shown
    "PF-2": (["PF-2"], ["X1", "X2", "X3", "X4"]),
    "pf-2 AT-1": (["AT-1", "PF-2"], ["X1", "X2", "X3", "X4", "X5"]),
    "X4": (["PF-2"], ["X4"]),
    "x24 PR-10": (["PF-6", "PR-10"], ["X24"]),
    "X6": ([], ["X6"]),
    "LL-1": (["LL-1"], []),
}


@pytest.mark.parametrize("ids", ONLY)
def test_only_some_equations(json_of, run, capsys, ids):
    report = json_of("verify", "--draws", 1, "--only", *ids.split())
    equations, corrections = ([entry["id"] for entry in part] for part in report.values())
    assert (equations, corrections) == ONLY[ids]
    assert run("verify", "--draws", 1, "--only", *ids.split()) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"^ (?!id)([A-Z\d]+(?:[-.]\d+)?)  ", printed, re.M) == sum(ONLY[ids], [])


def test_verbose_shows_both_sides_of_each_claim(run, capsys, json_of):
    flags = "verify", "--only", "PF-2", "--verbose", "--draws", 2, "--seed", 5
    (entry,) = json_of(*flags)["equations"]
    assert entry["file"] == "minipeft/equations/prefix.py"
    assert run(*flags) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for n, claim in enumerate(entry["claims"], 1):
        head = rf"claim {n} ok: equal .*?; the difference is \S+ {re.escape(claim['at'])} "
        assert re.search(head, words)
        for side in ("literal", "library"):
            code, shape = claim[side]["code"], tuple(claim[side]["shape"])
            assert f"{side} {code} {shape} {claim[side]['first'][0]:.3g} " in words


def test_the_equations_of_a_file_of_the_readers_own(own, run, capsys, tmp_path):
    own(OWN)
    assert run("verify", "mine.py", "--verbose") == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "MY-1 h = W₀ x + (α/r) B A x" in words and "1 ok, 0 fail, 0 open" in words
    assert "literal q.W @ x + q.b + 3 / 2 * B @ A @ x (" in words and "mine.py:14" in words
    assert re.search(r"ok: differ, as expected \(\d\.\de[+-]\d\d > 1e-08\)", words)
    assert "Claims are of the first draw that fails, or else of the first draw." in words
    assert "correction" not in words and [p.name for p in tmp_path.iterdir()] == ["mine.py"]


def test_what_a_file_prints_is_no_part_of_the_report(own, json_of):
    own("print('loaded')\n" + OWN.replace("    yield q.W", "    print('drawn')\n    yield q.W"))
    assert json_of("verify", "mine.py", "--draws", 1)["equations"][0]["id"] == "MY-1"


def test_an_equation_that_fails_and_one_that_raises_are_failures(own, run, capsys):
    own(OWN + FALSE)
    assert run("verify", "mine.py", "--verbose", "--seed", 1) == 1
    words = " ".join(capsys.readouterr().out.split())
    assert "1 ok, 2 fail" in words and "claim 1 fails: equal within 1e-12" in words
    assert "seed [1, 0]: KeyError: 'lost'" in words
    assert run("verify", "mine.py", "--only", "my-1") == 0


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise Stop(0)"])
def test_an_equation_that_ends_the_program_is_a_failure(own, run, capsys, end):
    own(f"import sys\nclass Stop(BaseException): pass\n{OWN}    {end}\n")
    assert run("verify", "mine.py", "--verbose", "--draws", 1, "--seed", 2) == 1
    words = " ".join(capsys.readouterr().out.split())
    assert "claim 2 ok" in words and "0 ok, 1 fail" in words
    assert f"seed [2, 0]: {'SystemExit' if 'sys' in end else 'Stop'}: 0" in words


@pytest.mark.parametrize("sides", ["1j, 2j", "[1, 1j], [1, 2j]", "2.0, 2.0 + 0j"])
def test_imaginary_parts_are_not_left_out(own, run, capsys, sides):
    own(OWN.split("    yield")[0] + f"    yield {sides}\n")
    assert run("verify", "mine.py", "--verbose") == 1
    assert "TypeError: a side is complex" in " ".join(capsys.readouterr().out.split())


def test_square_brackets_in_an_id_and_in_a_file_name_are_shown(own, run, capsys, tmp_path):
    own(OWN.replace("MY-1", "MY [/] 1"))
    (tmp_path / "mine.py").rename("a[b].py")
    assert run("verify", "a[b].py", "--verbose") == 0
    out = capsys.readouterr().out
    assert out.count("MY [/] 1 ") == 2 and "equation   a[b].py:7" in out and "a[b].py:14" in out


def test_the_draw_that_fails_is_the_one_that_is_shown(own, run, json_of, capsys):
    own(
        "from minipeft.equations import equation\n"
        + FALSE.replace("1.0 +", "").replace("1, 2", "0, 2")
    )
    assert run("verify", "mine.py", "--only", "MY-2", "--verbose", "--json", "--draws", 30) == 1
    (entry,) = json.loads(capsys.readouterr().out)["equations"]
    assert [claim["ok"] for claim in entry["claims"]] == [False]


REFUSED = {  # the file: the error
    "x = 1\n": 'mine.py has no equations: write a function under @equation("MY-1")',
    OWN + OWN.replace("def lora", "def two"): "mine.py has several equations called 'MY-1'",
    OWN.replace('"""h = W₀ x + (α/r) B A x\n    Hu et al. 2021, eq. 3"""', ""): (
        "mine.py, line 6: ValueError: MY-1: an equation is a function that yields `literal"
    ),
    OWN.replace('"MY-1"', "5"): (
        'mine.py, line 6: ValueError: @equation(5): an id is a text: write @equation("MY-1")'
    ),
    OWN.replace("(draw)", "()"): "mine.py, line 6: ValueError: MY-1: lora() is called with a draw",
    OWN + "1 / 0\n": "mine.py, line 15: ZeroDivisionError: division by zero",
    OWN + "1 +\n": "mine.py, line 15: SyntaxError",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_file_that_cannot_be_verified_is_refused(own, run, capsys, text):
    own(text)
    assert run("verify", "mine.py") == 3
    error = capsys.readouterr().err
    assert error.startswith(f"minipeft: {REFUSED[text]}") and len(error.splitlines()) == 1


def test_a_file_that_is_not_there_and_an_unknown_id_are_refused(own, run, capsys):
    assert run("verify", "other.py") == 3
    assert capsys.readouterr().err == "minipeft: other.py: no such file\n"
    assert run("verify", "--only", "PF-99") == 2
    assert capsys.readouterr().err == (
        "minipeft: there is no equation 'PF-99'; did you mean PF-9? `minipeft verify` lists all.\n"
    )
    own(OWN)
    assert run("verify", "mine.py", "--only", "PF-2") == 2
    assert "there is no equation 'PF-2'" in capsys.readouterr().err
