"""Importing the world computes nothing."""

import subprocess
import sys
from pathlib import Path

import minipeft.world

MODULES = sorted(path.stem for path in Path(minipeft.world.__file__).parent.glob("[a-z]*.py"))
IMPORT = """
import importlib, sys
import minipeft.tasks.base, minipeft.data.splits  # what the world imports

def profile(frame, event, argument):
    code = frame.f_code
    is_function = code.co_flags & 2  # CO_NEWLOCALS: neither a module nor a class body
    if event == "call" and "minipeft/world/" in code.co_filename.replace("\\\\", "/"):
        CALLED.append(code.co_name if is_function else None)

for module in {modules}:
    for name in [name for name in sys.modules if name.startswith("minipeft.world")]:
        del sys.modules[name]
    CALLED = []
    sys.setprofile(profile)
    importlib.import_module("minipeft.world." + module)
    {then}
    sys.setprofile(None)
    assert CALLED, "the module was imported already"
    print(module, *sorted({{name for name in CALLED if name}}))
"""


def functions_called(modules, then=""):
    """{module: functions of the world that are called while it is the first to be imported}."""
    run = [sys.executable, "-c", IMPORT.format(modules=modules, then=then)]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    return {module: functions for module, *functions in map(str.split, lines)}


def test_importing_a_module_calls_no_function():
    assert functions_called(MODULES) == {module: [] for module in MODULES}


def test_calls_of_functions_are_noticed():
    then = "importlib.import_module('minipeft.world.domains').domains()"
    assert "read_domain" in functions_called(["nli"], then)["nli"]
