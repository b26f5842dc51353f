"""The catalogue: every entry, in the order of the documents, and how all are verified."""

import numpy as np

from . import (
    adaptation,
    adapters,
    attention,
    llama,
    prefix,
    prefix_use,
    probing,
    prompt,
    ptuning,
    ptuning2,
    unified,
    weights,
)
from .entry import Equation

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
)
OPEN = [  # ids of the documents without a check, and why
    {
        "id": "PF-12",
        "formula": "z = [PREFIX; x; PREFIX'; y], three prefixes: of encoder, decoder and cross",
        "source": "001 (X19), Li & Liang 2021, §4",
        "why": "waits for encoder-decoder models",
    },
    {
        "id": "PR-10",
        "formula": "beyond 20 rows a longer prompt gains little",
        "source": "Lester et al. 2021, §3.2",
        "why": "a claim to be measured, not an equation",
    },
]
EQUATIONS = [e for section in SECTIONS for e in vars(section).values() if isinstance(e, Equation)]


def verify(draws=5, seed=None):
    """A Result for every equation, each on fresh draws; the same ones for the same seed."""
    seed = int(np.random.default_rng().integers(2**32)) if seed is None else seed
    return [e.verify([[seed, i] for i in range(draws)]) for e in EQUATIONS]
