"""Text from files, and batches of tokens from text."""

import numpy as np

from .files import DataError


def pad(rows, filler=0):
    """Rows of token ids as one array (B, T), and its mask: filler to the right.

    Rows (T, D) of features become (B, T, D) with a filler (D,).
    """
    shape = len(rows), max(map(len, rows))
    ids, mask = np.full((*shape, *np.shape(filler)), filler), np.zeros(shape, bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, True
    return ids, mask


POOL = 16  # batches that are sorted together: padding falls from a third of a batch to a twentieth
POOLS = 4  # an epoch has so many or more, so that a text meets others the next time


def shuffled(examples, size, rng, length=lambda example: 0):
    """Endless lists of `size` examples of about one length, in another order every epoch."""
    while True:
        order, batches = rng.permutation(len(examples)).tolist(), []
        whole = max(1, len(order) // size)  # batches; what is left over waits, long or short
        step = size * min(POOL, max(1, whole // POOLS))
        for at in range(0, whole * size, step):
            pool = order[at : min(at + step, whole * size)]
            pool.sort(key=lambda i: length(examples[i]))
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        for i in rng.permutation(len(batches)):
            yield [examples[j] for j in batches[i]]


def passages(ids, size, length, rng):
    """Endless (ids, labels, None): `size` passages of `length` from anywhere in one long text."""
    ids = np.asarray(ids)
    if len(ids) < length:
        raise DataError(f"the text has {len(ids)} tokens, and passages of {length} were asked for")
    while True:
        start = rng.integers(0, len(ids) - length + 1, size)
        own = ids[start[:, None] + np.arange(length)]
        yield own, own, None
