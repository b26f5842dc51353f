"""Importing the world computes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import minipeft.world

MODULES = sorted(path.stem for path in Path(minipeft.world.__file__).parent.glob("[a-z]*.py"))
IMPORT = """
import importlib, sys
import minipeft.tasks.base, minipeft.data.splits  # what the world imports

CALLED = []

def profile(frame, event, argument):
    code = frame.f_code
    is_function = code.co_flags & 2  # CO_NEWLOCALS: neither a module nor a class body
    if event == "call" and "minipeft/world/" in code.co_filename.replace("\\\\", "/"):
        CALLED.append(code.co_name if is_function else None)

sys.setprofile(profile)
importlib.import_module("minipeft.world.{module}")
{then}
sys.setprofile(None)
assert CALLED, "the module was imported already"
print(*sorted({{name for name in CALLED if name}}))
"""


def functions_called(module, then=""):
    """The functions of the world that are called while a new process imports a module."""
    source = IMPORT.format(module=module, then=then)
    run = [sys.executable, "-c", source]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("module", MODULES)
def test_importing_a_module_calls_no_function(module):
    assert functions_called(module) == []


def test_calls_of_functions_are_noticed():
    then = "importlib.import_module('minipeft.world.domains').domains()"
    assert "read_domain" in functions_called("nli", then)
