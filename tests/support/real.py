"""Paths of real files, which are not part of the project; tests that need them are skipped."""

import os
from pathlib import Path

import pytest

DEFAULT = Path(__file__).parents[3] / "shared/data"
FOLDER = Path(os.environ.get("MINIPEFT_REAL_DATA", DEFAULT)).resolve()


def real(name):
    """Return the path of a real file, or skip the test if it does not exist."""
    if not (FOLDER / name).exists():
        pytest.skip(f"no {FOLDER / name}; set MINIPEFT_REAL_DATA to the folder of the real files")
    return FOLDER / name
