"""Matrix products, and how the large ones are computed in blocks by the threads of an executor."""

from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from .backend import on_host

block_map = ContextVar("block_map", default=None)  # `map` of blocks of rows, or None


@contextmanager
def in_blocks(map):
    """Return a context manager in which large products are computed in blocks of rows, by `map`.

    map: as the builtin; that of an executor computes the blocks in its threads.
    """
    token = block_map.set(map)
    try:
        yield
    finally:
        block_map.reset(token)


def product(a, b):
    """Return a b for matrices a (T, I) and b (I, O)."""
    run, blocks = block_map.get(), min(8, len(a) // 128)  # shorter blocks are slower
    if run is None or not on_host(a) or blocks < 2 or a.size * b.shape[1] < 1 << 25:
        return a @ b
    y = np.empty((len(a), b.shape[1]), np.result_type(a, b))
    rows = [slice(len(a) * i // blocks, len(a) * (i + 1) // blocks) for i in range(blocks)]
    for _ in run(lambda block: np.matmul(a[block], b, out=y[block]), rows):
        pass
    return y
