"""Each part of the page, from made-up results."""

from types import SimpleNamespace

import pytest

from benchmarks import parts
from benchmarks.measure import few
from benchmarks.report import page

SECONDS = {  # {part: the times of a cell}
    "limits": dict(minipeft=[0.004], functions=[0.002], products=[0.001], stock=[0.005]),
    "forward": {"minipeft": [0.001], "stock": [0.002], "tuned": [0.003]},
    "generation": {"minipeft": [0.1], "stock": [0.2], "tuned": [0.1]},
    "users": {"1": [0.1], "10": [0.2], "100": [0.125]},
    "mixture": {"mixed": [0.2], "apart": [0.1]},
    "scaling": {"1": [0.003], "2": [0.005], "3": [0.007]},
    "probe": {"cached": [0.001], "trunk": [0.1]},
    "loading": {"minipeft": [0.2], "load_file": [0.1], "mapped": [0.3]},
    "startup": {"python -c pass": [0.01], "import minipeft": [0.2], "minipeft --help": [0.4]},
}
CASES = {
    "limits": {"size": "tt", "method": "lora", "labels": "everywhere"},
    "forward": {"size": "tt", "method": "lora"},
    "generation": {"size": "tiny", "texts": 8},
    "users": {"size": "tt", "method": "lora"},
    "mixture": {"size": "tt", "of": "training"},
    "scaling": {"of": "tokens"},
    "probe": {"size": "tt"},
    "loading": {"size": "small"},
    "startup": {"of": "a new process"},
}
ROWS = {
    "limits": [
        "| tt | lora | everywhere | 4 [4–4] | 2 [2–2] | 1 [1–1] | 5 [5–5] | n/a | 0.50 | 2.50 |  |"
    ],
    "forward": ["| tt | lora | 1 [1–1] | 2 [2–2] | 3 [3–3] | 2.00 | 3.00 |"],
    "generation": [
        "| tiny | 8 | 2560 | 1280 | 2560 | 2.00 | 1.00 |",
        "| generation: transformers' time ÷ minipeft's | ≥ 1.5 | 2 (tiny 8) | 1 of 1 | yes |",
    ],
    "users": [
        "| tt | lora | 100 [100–100] | 200 [200–200] | 125 [125–125] | 2.00 | 1.25 |",
        "| training, 100 users ÷ one user | ≤ 1.2 | 1.25 (tt lora) | 0 of 1 | no |",
    ],
    "mixture": [
        "| tt | training | 200 [200–200] | 100 [100–100] | 2.00 |",
        "| training, a mixed batch ÷ one batch a kind | ≤ 1.2 | 2 (tt training) | 0 of 1 | no |",
    ],
    "scaling": ["| tokens | 1: 3, 2: 5, 3: 7 | 1 | 2 | 1.0000 |"],
    "probe": ["| tt | 1 [1–1] | 100 [100–100] | 100.00 |"],
    "loading": [
        "| small | 200 [200–200] | 100 [100–100] | 300 [300–300] | 0.50 | 1.50 |",
        "| GPT-2 small: load_file ÷ mp.load | ≥ 1 | 0.5 (small) | 0 of 1 | no |",
    ],
    "startup": [
        "| `import minipeft`, seconds | ≤ 0.25 | 0.2 (median) | 1 of 1 | yes |",
        "| `minipeft --help`, seconds | ≤ 0.3 | 0.4 (median) | 0 of 1 | no |",
    ],
}


@pytest.mark.parametrize("part", SECONDS)
def test_the_section_and_the_targets_of_a_part(part):
    cell = {"case": CASES[part], "seconds": SECONDS[part], "failed": {}}
    environment = {"processor": "a processor", "cores": 2}
    lines = page({part: [cell], "environment": environment}).splitlines()
    assert not {*ROWS[part]} - {*lines}


def test_every_part_is_tested():
    assert {*parts.PARTS} == {*SECONDS, "training", "memory"}


def test_large_models_have_a_third_of_the_rounds():
    options = SimpleNamespace(rounds=7)
    assert [few(options, size) for size in ("tt", "small", "llama-135m")] == [7, 3, 3]
