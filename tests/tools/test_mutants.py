"""Planted and generated faults: each fits its file, and a test that notices one is named."""

import ast
import shlex

import pytest

from tests.tools import mutants, mutator
from tests.tools.isolated import run_tests

SOURCE = '''"""Doc 1."""
import numpy as np


@decorated(1)
def f(x: int = 3) -> float:
    """Doc 2."""
    if x < 2 and not g(x, 1, axis=-1):
        raise ValueError(f"{x + 1} is small")
    g(x)
    return x - np.sum(x)  # é
'''
MUTATIONS = {  # text: replacements
    "3": ["(4)"],
    "x < 2 and not g(x, 1, axis=-1)": [
        "(not (x < 2 and (not g(x, 1, axis=-1))))",
        "(x < 2 or not g(x, 1, axis=-1))",
        "(x < 2)",
    ],
    "x < 2": ["(x <= 2)"],
    "2": ["(3)"],
    "not g(x, 1, axis=-1)": ["(g(x, 1, axis=-1))"],
    "g(x, 1, axis=-1)": ["(g(x, 1))", "(g(1, x, axis=-1))"],
    "1": ["(2)", "(2)"],
    'raise ValueError(f"{x + 1} is small")': ["pass"],
    "g(x)": ["pass"],
    "x - np.sum(x)": ["(x + np.sum(x))", "(x)"],
}


def test_every_text_that_is_replaced_occurs_once_in_its_file():
    faults = list(mutants.planted())
    assert len(set(map(mutants.key, faults))) == len(faults) > 800


def test_the_tests_of_every_fault_are_there():
    selections = {fault.tests for fault in [*mutants.planted(), *mutants.generated(n=1)]}
    for tests in selections:
        paths = [word for word in shlex.split(tests) if "/" in word or word in mutants.AREAS]
        files = [mutants.ROOT / "tests" / path.partition("::")[0] for path in paths]
        assert files and all(file.exists() for file in files), tests


def test_mutations_of_a_small_function():
    found = {}
    for start, old, new in mutator.mutations(SOURCE):
        assert SOURCE[start:].startswith(old)
        found.setdefault(old, []).append(new)
    assert {old: sorted(new) for old, new in found.items()} == {
        old: sorted(new) for old, new in MUTATIONS.items()
    }


def test_mutations_of_the_library_change_what_is_compiled():
    for path in sorted((mutants.ROOT / "minipeft").rglob("*.py")):
        source = path.read_text()
        tree = ast.dump(ast.parse(source))
        for start, old, new in mutator.sample(source, 3, seed=path.name):
            changed = source[:start] + new + source[start + len(old) :]
            assert ast.dump(ast.parse(changed)) != tree


def test_the_same_seed_gives_the_same_sample():
    once, again, other = (mutator.sample(SOURCE, 4, seed) for seed in (5, 5, 6))
    assert once == again != other and len(set(once)) == 4
    assert len(mutator.sample(SOURCE, 99, seed=0)) == len(mutator.mutations(SOURCE))


@pytest.fixture
def tree(tmp_path):
    """A library of one function, and a test of its value at 1."""
    for folder in ("minipeft", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "minipeft" / "__init__.py").write_text("def f(x):\n    return x + 2\n")
    test = "import minipeft\n\n\ndef test_f():\n    assert minipeft.f(1) == 3\n"
    (tmp_path / "tests" / "test_f.py").write_text(test)
    return tmp_path


@pytest.mark.parametrize(
    ("body", "code", "noticed_by"),
    [
        ("return x + 2", 0, None),
        ("return 2 * x + 1", 0, None),
        ("return x - 2", 1, "test_f.py::test_f"),
        ("while True: pass", None, "no end"),
        ("raise KeyboardInterrupt", 2, "pytest, which ended with code 2"),
    ],
)
def test_the_first_test_that_fails_is_named(tree, body, code, noticed_by):
    (tree / "minipeft" / "__init__.py").write_text(f"def f(x):\n    {body}\n")
    outcome = run_tests(tree, "test_f.py", limit=20 if code is not None else 3)
    assert (outcome.code, outcome.noticed_by) == (code, noticed_by)


def test_a_selection_without_tests_notices_nothing(tree):
    outcome = run_tests(tree, "test_f.py -k nothing")
    assert outcome.code == 5 and outcome.noticed_by is None
