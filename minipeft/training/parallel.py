"""Data parallelism on threads: the result does not depend on the number of threads, to the bit."""

import ctypes
import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from threading import Lock

import numpy as np
from threadpoolctl import OpenBLASController, ThreadpoolController

from ..autograd.products import in_blocks
from ..autograd.tensor import Tensor, grad, no_grad

TOKENS = 200  # smallest shard, in tokens: below, smaller matrix products are slower
WORK = 3.5e8  # smallest shard, in multiplications: 400 tokens of a model of a million parameters
MOST = 8  # largest number of shards


def shard_rows(shape, model_size: int, at_least: int = 1) -> list[np.ndarray]:
    """Return the rows of each shard of a batch of tokens of `shape` (B, …): 1, 2, 4 or 8 shards.

    The number depends on the shape and on model_size, the number of scalar parameters of the model,
    and not on the number of threads.  There are `at_least` shards if that is more, but at most B.
    """
    B, tokens = shape[0], math.prod(shape)
    shards = min(MOST, B, tokens // TOKENS, int(tokens * model_size / WORK))
    shards = max(1 << max(0, shards.bit_length() - 1), min(B, at_least))
    return np.array_split(np.arange(B), shards)


def gradients(loss, adaptation, shards, executor, batch):
    """Return Σ_s loss(shards[s], γ, s, ...), and its gradient for each parameter of the adaptation.

    loss: returns a scalar tensor for rows of the batch, the adaptation γ of these rows, s, and, by
    name, these rows of the arrays in `batch`.
    executor: runs the shards; of a single one, in threads, the blocks of its matrix products.  They
    are added in order: the same bits.
    A reparametrisation network runs once for all shards, and is differentiated once.
    """
    adaptation.check_batch(sum(map(len, shards)))
    with np.errstate(over="ignore", invalid="ignore"):  # Trainer checks the result
        resolved = adaptation.resolve()
    shards = resolved.regroup(shards)
    parts = [resolved] if len(shards) == 1 else [resolved.of(rows) for rows in shards]
    leaves = [part.map(lambda p: Tensor(p.data, requires_grad=True)) for part in parts]
    batches = [{name: x[rows] for name, x in batch.items()} for rows in shards]
    run = map if len(shards) == 1 else executor.map
    results = run(partial(shard_gradients, loss), shards, leaves, range(len(shards)), batches)
    value, sums = 0.0, {}
    with in_threads(executor if len(shards) == 1 else None):
        for part, (y, *gs) in zip(parts, results):
            value = value + y
            for p, g in zip(part.parameters(), gs):
                sums[p] = sums[p] + g if p in sums else g
    return value, grad([*sums], adaptation.parameters(), [*sums.values()])


def in_threads(executor):
    """Return `in_blocks` of the threads of an executor, and without blocks for another one."""
    return in_blocks(executor.map if isinstance(executor, ThreadPoolExecutor) else None)


def shard_gradients(loss, rows, γ, s, batch):
    """Return loss(rows, γ, s, **batch), and its gradient for each parameter of γ."""
    with np.errstate(over="ignore", invalid="ignore"):
        y = loss(rows, γ, s, **batch)
        return y.data, *grad(y, γ.parameters())


class OneBlasThread:
    """Context manager that limits BLAS, in the whole process, to one thread.

    With more threads BLAS adds in another order, so the bits of a product would depend on their
    number.  Several threads may be inside at a time: the last one that leaves lifts the limit.
    threadpoolctl obeys one thread until `clear_controlling_thread` lets another one take over.
    """

    blas = cached_property(lambda self: ThreadpoolController())

    def __init__(self):
        self.lock, self.inside = Lock(), 0

    def __enter__(self):
        with self.lock:
            if not self.inside:
                OpenBLASController.clear_controlling_thread(force=True)
                self.limit = self.blas.limit(limits=1, user_api="blas")
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if not self.inside:
                OpenBLASController.clear_controlling_thread(force=True)
                self.limit.restore_original_limits()


ONE_BLAS_THREAD = OneBlasThread()


class Pool(ThreadPoolExecutor):
    """Pool of threads, by default one for each core."""

    def __init__(self, workers=None):
        super().__init__(workers or os.cpu_count())

    def __reduce__(self):
        return Pool, (self._max_workers,)  # a pickle has no threads


def keep_memory():
    """Make the C allocator keep freed memory for the next large array.

    It changes the whole process, so the library does not call it; a program may.  Without glibc it
    does nothing.
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


def slices(n: int, size: int) -> list[slice]:
    """Return slices of n rows, of at most `size` and about n / MOST rows, for all threads."""
    size = max(1, min(size, -(-n // MOST)))
    return [slice(at, at + size) for at in range(0, n, size)]


def map_batches(f, rows, size=64, progress=iter):
    """Return a list with the result of f for each row, in order; batches run in threads.

    f: f(indices) returns a list of results, one for each index of a batch of rows.
    rows: a list; only the lengths of its items are read, so that each batch has similar lengths.
    size: largest number of rows in a batch.
    progress: returns the iterator of finished batches that it is given, with a progress bar.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    batches = [order[part] for part in slices(len(rows), size)]
    pool, results = Pool(), {}

    def run(indices):
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):  # NaN counts as wrong
            return zip(indices, f(indices), strict=True)

    with ONE_BLAS_THREAD:
        for batch in progress(pool.map(run, batches)):
            results |= batch
    return [results[i] for i in range(len(rows))]
