"""Compare every family × task × method with PEFT, both ways, with new random numbers each time.

SEED=7 pytest tests/hf/test_matrix.py -k gpt2-CAUSAL_LM repeats a run.
"""

import os
import traceback

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from tests.support.oracles.check import LIMITS, check, worst
from tests.support.oracles.make import make, write, write_base
from tests.support.oracles.out import WayOut
from tests.support.oracles.table import FAMILIES, TASKS, possible

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
PAIRS = [f"{f}-{t}" for f in FAMILIES for t in TASKS if possible(f, t)]


@pytest.mark.parametrize("pair", PAIRS)
def test_minipeft_and_peft_read_each_other(pair, tmp_path, record_property):
    seed = int(os.environ.get("SEED") or np.random.default_rng().integers(2**31))
    print(f"SEED={seed}")
    family, task = pair.split("-")
    failures = []
    for n, folder in enumerate(make(tmp_path / "oracles", seed, [family], [task])):
        place = tmp_path / str(n)
        place.mkdir()
        try:
            errors = check(folder), worst(folder, WayOut(folder).errors(place))
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
def test_peft_still_does_not_support(family, task, method, error, tmp_path):
    write_base(tmp_path / "base", 0, family, task)
    with pytest.raises(error):
        write(tmp_path / method, 0, family, task, method)
