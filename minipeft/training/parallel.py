"""Data parallelism on threads.  The shards are fixed, so the number of threads changes no bit."""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from threadpoolctl import ThreadpoolController

from ..autograd.tensor import Tensor, grad, no_grad

TOKENS = 400  # smallest shard, in tokens: below, smaller matrix products are slower
WORK = 2e8  # and in multiplications: below, the hand-over to a thread costs more than it gains
MOST = 8


def shard_rows(shape, model_size: int, at_least: int = 1) -> list[np.ndarray]:
    """Return the rows of each shard of a batch of this shape: 1, 2, 4 or 8 shards, or `at_least`.

    The number depends on the work alone, not on the number of threads.
    """
    B, T = shape[:2]
    shards = min(MOST, B, B * T // TOKENS, int(B * T * model_size / WORK))
    shards = max(1 << max(0, shards.bit_length() - 1), min(B, at_least))
    return np.array_split(np.arange(B), shards)


def gradients(loss, adaptation, shards, pool):
    """Return Σ_s loss(rows of s, γ, s) over the shards s, and its gradient for each parameter.

    A reparametrisation network runs once for all shards, and is differentiated once.
    """
    adaptation.check_batch(sum(map(len, shards)))
    with np.errstate(over="ignore", invalid="ignore"):  # Trainer checks the sums
        resolved = adaptation.resolve()
    leaves = resolved.map(lambda p: Tensor(p.data, requires_grad=True))
    wanted = leaves.parameters()

    def work(s):
        with np.errstate(over="ignore", invalid="ignore"):
            y = loss(shards[s], leaves if len(shards) == 1 else leaves.of(shards[s]), s)
            return [y.data, *grad(y, wanted)]

    parts = pool.map(work, range(len(shards)))
    sums = next(parts)
    for part in parts:  # as they finish, so that few gradients are in memory at a time
        for i, x in enumerate(part):
            sums[i] = sums[i] + x
    value, *sums = sums
    return value, grad(resolved.parameters(), adaptation.parameters(), sums)


class Pool:
    """Threads for shards."""

    def __init__(self, workers=None):
        self.threads = ThreadPoolExecutor(workers or os.cpu_count())
        self.blas = ThreadpoolController()

    def map(self, f, items):
        return self.threads.map(f, items) if len(items) > 1 else map(f, items)

    @contextmanager
    def one_blas_thread(self):
        """Limit BLAS to one thread in each of these threads."""
        with self.blas.limit(limits=1, user_api="blas"):
            yield


def keep_memory():
    """Make the C allocator keep freed memory for the next large array.

    This is a setting of the whole process, so that programs must ask for it.  It does nothing where
    there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
    for option, value in (
        (MMAP_MAX, 0),
        (TRIM_THRESHOLD, 2**31 - 1),
        (TOP_PAD, 64 << 20),
        (ARENA_MAX, 1),
    ):
        mallopt(option, value)


def map_batches(f, rows, size=64, progress=iter):
    """Return f's result for each row, in the order of the rows; batches run in threads.

    f: f(indices) returns one result for each index of a batch of rows.
    rows: only their lengths matter: a batch has rows of similar length.
    progress: wraps the iterator of finished batches, for example to show a progress bar.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    pool, results = Pool(), {}

    def run(indices):
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):  # NaN counts as wrong
            return zip(indices, f(indices), strict=True)

    with pool.one_blas_thread():
        for batch in progress(pool.map(run, batches)):
            results |= batch
    return [results[i] for i in range(len(rows))]
