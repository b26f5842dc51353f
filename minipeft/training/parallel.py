"""One batch cut into fixed shards for threads: the bits depend on the cut, not on who works."""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from threadpoolctl import ThreadpoolController

from ..autograd.tensor import Tensor, grad, no_grad

TOKENS = 400  # a shard's least: below it the products are too thin to be quick
WORK = 2e8  # and its least multiplications: below it handing over costs more than it gains
MOST = 8


def shard_rows(shape, weights, least=1):
    """The rows of a batch (B, T), in 1, 2, 4 or 8 shards, or more if so many are asked for.

    A function of the problem alone.
    """
    B, T = shape[:2]
    shards = min(MOST, B, B * T // TOKENS, int(B * T * weights / WORK))
    shards = max(1 << max(0, shards.bit_length() - 1), min(B, least))
    return np.array_split(np.arange(B), shards)


def gradients(loss, adaptation, shards, pool):
    """loss(rows, γ, s) summed over shards s, and its gradient for every parameter of `adapt`.

    What depends on the parameters alone (an encoder) runs once, before the cut: its outputs are
    the leaves of every shard, and it is differentiated once, with the sum.
    """
    adaptation.check_batch(sum(map(len, shards)))
    with np.errstate(over="ignore", invalid="ignore"):  # whoever trains looks at the sums
        now = adaptation.resolve()
    leaves = now.map(lambda p: Tensor(p.data, requires_grad=True))
    wanted = leaves.parameters()

    def work(s):
        with np.errstate(over="ignore", invalid="ignore"):
            y = loss(shards[s], leaves if len(shards) == 1 else leaves.of(shards[s]), s)
            return [y.data, *grad(y, wanted)]

    parts = pool.map(work, range(len(shards)))
    sums = next(parts)
    for part in parts:  # as they come: of many slices, few gradients are there at a time
        for i, x in enumerate(part):
            sums[i] = sums[i] + x
    value, *sums = sums
    return value, grad(now.parameters(), adaptation.parameters(), sums)


class Pool:
    """Threads for shards.  They share the cores, so each has one for its matrix products."""

    def __init__(self, workers=None):
        self.threads = ThreadPoolExecutor(workers or os.cpu_count())
        self.blas = ThreadpoolController()

    def map(self, f, items):
        return self.threads.map(f, items) if len(items) > 1 else map(f, items)

    @contextmanager
    def alone(self):
        """One BLAS thread for each of ours."""
        with self.blas.limit(limits=1, user_api="blas"):
            yield


def keep_memory():
    """Let the allocator keep what is freed, and not ask the system for every large array anew.

    For the whole process, so it is for commands, and for whoever asks.  Without glibc: nothing.
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


def answers(says, rows, size=64, each=iter):
    """says(part) for indices `part` of rows of about one length, in threads; in the rows' order.

    each: goes through the parts as they are done, and may show it.
    """
    order, found = sorted(range(len(rows)), key=lambda i: len(rows[i])), {}
    parts, pool = [order[at : at + size] for at in range(0, len(order), size)], Pool()

    def some(part):
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):  # scored as it is
            return zip(part, says(part), strict=True)

    with pool.alone():
        for answered in each(pool.map(some, parts)):
            found |= answered
    return [found[i] for i in range(len(rows))]
