"""Every family × task × method against PEFT itself, both ways, with numbers that are new each time.

SEED=7 pytest tests/test_matrix.py -k gpt2-CAUSAL_LM makes the same numbers again.
"""

import os
import traceback

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from tests.support.oracles.check import LIMITS, check, judged
from tests.support.oracles.make import make, write, write_base
from tests.support.oracles.out import WayOut
from tests.support.oracles.table import FAMILIES, TASKS, possible

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
PAIRS = [f"{f}-{t}" for f in FAMILIES for t in TASKS if possible(f, t)]


@pytest.mark.parametrize("pair", PAIRS)
def test_both_ways(pair, tmp_path, record_property):
    seed = int(os.environ.get("SEED") or np.random.default_rng().integers(2**31))
    print(f"SEED={seed}")
    family, task = pair.split("-")
    failures = []
    for n, folder in enumerate(make(tmp_path / "oracles", seed, [family], [task])):
        there = tmp_path / str(n)
        there.mkdir()
        try:
            errors = check(folder), judged(folder, WayOut(folder).errors(there))
        except Exception:
            failures.append(f"{folder.name}: {traceback.format_exc(limit=-2)}")
            continue
        for kind in LIMITS:
            record_property(kind, max(float(e.get(kind, 0)) for e in errors))
    assert not failures, f"SEED={seed}\n" + "\n".join(failures)


@pytest.mark.parametrize(
    "family, task, method, error",
    [
        ("gpt2", "TOKEN_CLS", "lora-all", TypeError),
        ("bert", "QUESTION_ANS", "lora-all", TypeError),
        ("llama", "FEATURE_EXTRACTION", "lora-layers", ValueError),
        ("bert", "MASKED_LM", "prompt", KeyError),
    ],
)
def test_peft_still_can_not(family, task, method, error, tmp_path):
    write_base(tmp_path / "base", 0, family, task)
    with pytest.raises(error):
        write(tmp_path / method, 0, family, task, method)
