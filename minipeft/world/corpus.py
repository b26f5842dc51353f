"""The pretraining text of the built-in bases, a mixture of five sources."""

from collections.abc import Iterator

import numpy as np

from . import language, nli, style, table, tags
from .language import pick

SOURCES = (
    *(6 * [language.document]),
    *(2 * [nli.document]),
    *(2 * [table.document]),
    style.document,
    tags.document,
)


def documents(rng: np.random.Generator) -> Iterator[str]:
    """Yield documents of one to six sentences, endlessly."""
    while True:
        yield pick(rng, SOURCES)(rng)
