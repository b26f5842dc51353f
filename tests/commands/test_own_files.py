"""Files of the reader's own: run without a trace, and errors that name the line."""

import linecache
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from minipeft.commands.own_files import load_file
from minipeft.data.files import DataError

GOOD = '''from __future__ import annotations
from dataclasses import dataclass
from helper import double

@dataclass
class Doubled:
    """y = 2 x"""

    factor: int = double(1)
'''
BROKEN = {  # the file: a part of the error
    "x = 1\nx = (\n": "mine.py, line 2: SyntaxError: '(' was never closed",
    "x = 1\ny = x / 0\n": "mine.py, line 2: ZeroDivisionError: division by zero",
    "def f():\n    g()\n\nf()\n": "mine.py, line 2: NameError: name 'g' is not defined",
    "import helper\nhelper.double('')\n\nraise ValueError('one\\ntwo')": "line 4: ValueError: one",
    "import absent\n": "mine.py, line 1: ModuleNotFoundError: No module named 'absent'",
    "import bad\n": "mine.py, line 1: SyntaxError: invalid syntax",
    "x = 0\n\nassert x\n": "mine.py, line 3: AssertionError",
    "import sys\nsys.exit(0)\n": "mine.py, line 2: SystemExit: 0",
    "class Stop(BaseException): pass\nraise Stop(1)\n": "mine.py, line 2: Stop: 1",
    b"x = '\xff'\n": "line 1: SyntaxError: (unicode error) 'utf-8' codec can't decode byte 0xff",
    b"x = 1\0\n": "source code string cannot contain null bytes",
}


@pytest.fixture
def folder(tmp_path):
    """A folder with helper.py, a file that others import, and bad.py, with an error."""
    (tmp_path / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "bad.py").write_text("\n\n\nx = =\n")
    return tmp_path


@pytest.fixture(autouse=True)
def imported_anew(monkeypatch):
    yield
    sys.modules.pop("helper", None)


def test_a_file_is_run_and_nothing_is_written_or_left(folder):
    (folder / "mine.py").write_text(GOOD)
    before, path = sorted(folder.iterdir()), [*sys.path]
    module = load_file(folder / "mine.py")
    (factor,) = fields(module.Doubled)
    assert (factor.default, factor.type, module.__file__) == (2, "int", str(folder / "mine.py"))
    assert sys.modules[module.Doubled.__module__] is module
    assert sorted(folder.iterdir()) == before and sys.path == path


def test_files_of_one_name_are_different_modules(folder):
    (folder / "other").mkdir()
    for n, path in enumerate([folder / "json.py", folder / "other" / "json.py"]):
        path.write_text(f"n = {n}")
    assert [load_file(p / "json.py").n for p in (folder, folder / "other")] == [0, 1]
    assert hasattr(sys.modules["json"], "dumps")


@pytest.mark.parametrize("content, message", BROKEN.items())
def test_an_error_names_the_file_and_its_line(folder, content, message):
    path, names, writes = folder / "mine.py", {*sys.modules}, sys.dont_write_bytecode
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        load_file(path)
    assert str(caught.value).startswith(f"{path}")
    assert message in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert {*sys.modules} - names <= {"helper"} and sys.dont_write_bytecode is writes


def test_what_is_no_python_file_is_refused(folder):
    (folder / "mine.txt").write_text("x = 1")
    (folder / "there.py").mkdir()
    for name, message in {
        "absent.py": "no such file",
        "mine.txt": "is not a Python file: the name of one ends in .py",
        "there.py": "is a folder, not a file",
    }.items():
        with pytest.raises(DataError, match=message):
            load_file(folder / name)


def test_lines_are_those_of_the_file_that_was_read_last(tmp_path, monkeypatch):
    """Two folders, one relative name, whose lines Python keeps."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"x = {folder!r}\n")
        monkeypatch.chdir(tmp_path / folder)
        assert load_file(Path("mine.py")).x == folder
        assert linecache.getlines("mine.py") == [f"x = {folder!r}\n"]
