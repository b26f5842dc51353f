"""Jobs with nothing but the matrix products of a training step, with every core.

B texts   T tokens   P virtual tokens   N rows of all tokens   R rows with a label
D width   F width of the feed-forward   d width of a head
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ..cases import CLASSES, SIZES, VIRTUAL, batch

RANK = 8  # of LoRA


class Product(NamedTuple):
    """X (…, m, k) times W (…, k, n), and which of the gradients dX and dW the step needs."""

    X: tuple
    W: tuple
    dX: bool
    dW: bool


def products(size: str, method: str, labels: str, B: int, P: int) -> Iterator[Product]:
    """Yield the products of a training step on B texts.

    In the last block and in the head, only tokens with a label need what follows the attention.
    P: rows of a prompt, which is the same for all texts and computed once.
    """
    s = SIZES[size]
    T, D, F, d = s.tokens, s.width, s.ffn_width or 4 * s.width, s.width // s.heads
    kv, llama, N = d * (s.key_heads or s.heads), s.family == "llama", B * s.tokens + P
    full, lora, probe = method == "full", method == "lora", method == "probe"
    S = T + VIRTUAL * (method in ("prompt", "prefix"))
    labelled = N if probe else (batch(size, method, labels)[1][:B] >= 0).sum()
    for i in range(s.layers):
        below = not probe and (i > 0 or method in ("full", "prompt", "bitfit"))  # anything trained
        scores = not probe and (i > 0 or method != "adapter")
        R = labelled if i == s.layers - 1 else N
        for n in (D, kv, kv):
            yield Product((N, D), (D, n), below, full)
        for n in ((D, kv, kv) if llama else (D + 2 * kv,)) if lora else ():
            yield Product((N, D), (D, RANK), below, True)
            yield Product((N, RANK), (RANK, n), True, True)
        yield Product((B, s.heads, T, d), (B, s.heads, d, S), scores, scores)
        yield Product((B, s.heads, T, S), (B, s.heads, S, d), scores, scores)
        yield Product((R, D), (D, D), scores, full)
        for _ in range(1 + llama):
            yield Product((R, D), (D, F), scores, full)
        yield Product((R, F), (F, D), scores, full)
        if method == "adapter":
            yield Product((R, D), (D, s.bottleneck), True, True)
            yield Product((R, s.bottleneck), (s.bottleneck, D), True, True)
    if probe:
        yield Product((B, D), (D, CLASSES), False, True)
    else:
        yield Product((labelled, D), (D, s.vocabulary), True, full)


class Arrays:
    """The arrays of a product.  `shared` is W of a layer; keys and values are not shared."""

    def __init__(self, product: Product, shared):
        is_new = shared is None or len(product.W) > 2
        self.X = np.ones(product.X, np.float32)
        self.W = np.ones(product.W, np.float32) if is_new else shared
        self.Y = np.ones((*product.X[:-1], product.W[-1]), np.float32)
        self.dX = np.empty_like(self.X) if product.dX else None
        self.dW = np.empty_like(self.W) if product.dW else None

    def forward(self):
        np.matmul(self.X, self.W, out=self.Y)

    def backward(self):
        if self.dX is not None:
            np.matmul(self.Y, self.W.swapaxes(-1, -2), out=self.dX)
        if self.dW is not None:
            np.matmul(self.X.swapaxes(-1, -2), self.Y, out=self.dW)


def run(arrays):
    """Compute all products forwards, then their gradients backwards."""
    for product in arrays:
        product.forward()
    for product in reversed(arrays):
        product.backward()


def train(size: str, method: str, labels: str, split: bool):
    """Return a function that computes all products of a training step.

    split: each core has some of the texts; otherwise BLAS has all cores for each product.
    """
    texts = np.arange(SIZES[size].batch)
    parts = np.array_split(texts, min(len(texts), os.cpu_count() if split else 1))
    work: list[list[Arrays]] = []
    for part in parts:
        P = VIRTUAL if method == "prompt" and not work else 0
        found = [*products(size, method, labels, len(part), P)]
        shared = [arrays.W for arrays in work[0]] if work else [None] * len(found)
        work.append([Arrays(product, W) for product, W in zip(found, shared)])
    if len(work) == 1:
        return lambda: run(work[0])
    threadpool_limits(1, "blas")
    pool = ThreadPoolExecutor(len(work))
    return lambda: list(pool.map(run, work)) and None
