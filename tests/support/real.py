"""Real files, which are no part of the project: where they are, or a skip that says so."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[3] / "shared/data"
DATA = Path(os.environ.get("MINIPEFT_REAL_DATA", BESIDE)).resolve()


def real(name):
    """The path of one, if it is there."""
    if not (DATA / name).exists():
        pytest.skip(f"no {DATA / name}; MINIPEFT_REAL_DATA says where the real files are")
    return DATA / name
