"""All that the built-in bases read: opinions and tales, statements, descriptions, letters."""

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
    """An endless stream of documents, of one to six sentences each."""
    while True:
        yield pick(rng, SOURCES)(rng)
