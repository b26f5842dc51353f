"""CL-9: an MLP that computes the prefix, against a prefix that is trained directly."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..methods import Encoded, PrefixTuning
from ..tasks.classify import Classify
from ..world import sentiment
from .claim import Claim, Contrast, Rows
from .study import Study, on_task

PREFIX = PrefixTuning(10, init="normal")
METHODS: dict[str, Any] = {
    "direct": PREFIX,
    "MLP": Encoded(PREFIX),
}
LRS = 1e-3, 1e-2, 1e-1


def spread(rows: Rows, name: str) -> np.ndarray:
    """Return the standard deviation of the test accuracy over learning rates, for each seed."""
    return np.std([rows(name, "test", lr) for lr in LRS], axis=0)


def best(rows: Rows, name: str) -> np.ndarray:
    """Return the test accuracy at the learning rate with the highest mean on dev."""
    lr = max(LRS, key=lambda lr: rows(name, "dev", lr).mean())
    return rows(name, "test", lr)


CLAIM = Claim(
    "CL-9",
    "An MLP that computes the prefix makes its training stable",
    "The prefix is computed by fully connected layers, because training it directly is unstable "
    "and worse.",
    "Prompting notes, §1.1.1",
    "Li & Liang 2021, §4.3: direct training is unstable and slightly worse (no table). Liu et al. "
    "2021b, figure 4: it depends on the task.",
    (
        Contrast(
            "spread over learning rates, direct − MLP",
            lambda r: spread(r, "direct") - spread(r, "MLP"),
        ),
        Contrast(
            "best learning rate, MLP − direct, test", lambda r: best(r, "MLP") - best(r, "direct")
        ),
    ),
    "A prefix of ten, sentiment, decoder of 1.1 M parameters, new head; each of three learning "
    "rates with every seed. Spread is the standard deviation of a seed's test accuracy over the "
    "learning rates.",
    xlabel="learning rate",
    limits="A direct prefix starts at N(0, 0.02²), the output of the MLP at larger numbers; a "
    "direct prefix of that scale was not measured.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method and learning rate."""
    base, tokenizer = study.base()
    task = Classify("sentiment", study.splits(sentiment), base, tokenizer)
    scores = lambda task, γ: {s: task.evaluate(γ, s)["accuracy"] for s in ("dev", "test")}
    for name, method in METHODS.items():
        for lr in LRS:
            trial = on_task(task, method, scores)
            yield study.row(name, trial, x=lr, lrs=(lr,))
