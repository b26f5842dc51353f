"""The catalogue: all equations in order, and their verification."""

from collections.abc import Sequence

import numpy as np

from . import (
    adaptation,
    adapters,
    attention,
    encoder_decoder,
    feedback,
    instructions,
    llama,
    metrics,
    prefix,
    prefix_use,
    pretraining,
    probing,
    prompt,
    prompting,
    ptuning,
    ptuning2,
    search,
    unified,
    weights,
)
from .entry import Equation, Result

SECTIONS = (
    adaptation,
    attention,
    prefix,
    prefix_use,
    prompt,
    ptuning,
    ptuning2,
    adapters,
    weights,
    unified,
    probing,
    llama,
    encoder_decoder,
    pretraining,
    prompting,
    search,
    feedback,
    instructions,
    metrics,
)
EQUATIONS = [e for section in SECTIONS for e in vars(section).values() if isinstance(e, Equation)]
OPEN = [  # not verified, and why
    {
        "id": "PR-10",
        "formula": "a prompt of more than 20 rows gains little",
        "source": "Lester et al. 2021, §3.2",
        "why": "an experiment, not an equation",
    },
]


def verify(
    draws: int = 5, seed: int | None = None, equations: Sequence[Equation] | None = None
) -> list[Result]:
    """Return a Result for each equation, None: for all, on `draws` draws; seed None: random."""
    seed = int(np.random.default_rng().integers(2**32)) if seed is None else seed
    chosen = EQUATIONS if equations is None else equations
    return [e.verify([[seed, i] for i in range(draws)]) for e in chosen]
