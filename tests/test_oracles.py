"""What we compute is what PEFT did, as tests/oracles/make.py has written it down: no torch."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from check import check, pairs
from safetensors.numpy import load_file, save_file
from table import FAMILIES, METHODS, TASKS, possible

FIXED = Path(__file__).parent / "oracles" / "fixed"
PAIRS = pairs(FIXED)


@pytest.mark.parametrize("folder", PAIRS, ids=lambda folder: "-".join(folder.parts[-3:]))
def test_we_compute_what_peft_does(folder):
    check(folder)


def test_there_is_an_oracle_of_every_family_task_and_method():
    have = {(family, task) for *_, family, task, _ in (folder.parts for folder in PAIRS)}
    assert have == {(f, t) for f in FAMILIES for t in TASKS if possible(f, t)}
    assert {folder.name for folder in PAIRS} == set(METHODS)


@pytest.mark.parametrize("name", ["plain.logits64", "right.loss64", "plain.grad", "generated"])
def test_a_wrong_number_is_noticed(name, tmp_path):
    family = next(f for f in PAIRS if f.parts[-2:] == ("CAUSAL_LM", "lora")).parent
    shutil.copytree(family, tmp_path / "CAUSAL_LM")
    folder = tmp_path / "CAUSAL_LM" / "lora"
    check(folder)
    found = load_file(folder / "expected.safetensors")
    x = found[next(n for n in found if name in n)]
    x.flat[0] += 1 if x.dtype.kind == "i" else 1e-2 * abs(x).max()
    save_file(found, folder / "expected.safetensors")
    with pytest.raises(AssertionError, match="differs from PEFT|is not"):
        check(folder)


def test_what_is_kept_is_small():
    files = [path for path in FIXED.rglob("*") if path.is_file()]
    assert len(files) < 400 and sum(path.stat().st_size for path in files) < 3e6
    assert np.all([path.suffix in {".json", ".safetensors"} for path in files])
