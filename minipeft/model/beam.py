"""Beam search, as in transformers 5.23.0.

B texts   K beams   M candidates of each text   V vocabulary   N most new tokens
"""

from typing import NamedTuple

import numpy as np

from ..adaptation.cache import Cache
from ..autograd.backend import host
from ..autograd.nn import replace
from .generation_config import LENGTHS, GenerationConfig
from .logits import log_softmax, process, warp

OUT = -1e9  # score of a beam that is out of the search


class Finished(NamedTuple):
    """The K best texts that have ended, best first; a place that is not taken has the score OUT."""

    tokens: np.ndarray  # (B, K, N)
    lengths: np.ndarray  # (B, K)
    scores: np.ndarray  # (B, K): sum of log-probabilities / length
    taken: np.ndarray  # (B, K)


def beam_search(model, inputs, cache: Cache, history, c: GenerationConfig, stopping, rng):
    """Return the new tokens (B, n) of the best text found for each text.

    Each step takes the M best of the K V texts that are one token longer.  Of these, the K best
    that have not ended go on; those among the first K that have ended are compared with the best
    ended ones so far by their sum of log-probabilities divided by LENGTHS[length_formula].
    With temperature, the M candidates are drawn without replacement by their probabilities.
    """
    B, K, N = len(history), c.num_beams, c.max_new_tokens
    z = host(model.first_logits(inputs, cache))
    beams = np.repeat(np.arange(B), K)
    z, history, cache = z[beams], history[beams], cache.of(beams)
    scores = np.full((B, K), OUT, z.dtype)
    scores[:, 0] = 0  # at first, the beams of a text are equal: one of them counts
    best = nothing_finished(B, c, z.dtype)
    hopeful = np.ones((B, 1), bool)  # whether a running beam may still become the best
    for n in range(1, N + 1):
        logs = process(log_softmax(z), history, n - 1, c)
        sums, beam, token = candidates(logs, scores, c, rng)
        rows = (np.arange(B)[:, None] * K + beam).ravel()
        tried = np.concatenate([history[rows], token.reshape(-1, 1)], 1)  # (B M, S + 1)
        ended = stopping(tried, n).reshape(sums.shape) | (n == N)
        best = finish(best, tried, sums, ended, hopeful, n, c)
        kept = largest(sums + OUT * ended, K)  # (B, K)
        scores = np.take_along_axis(sums + OUT * ended, kept, 1)
        hopeful &= may_improve(best, scores, n, c)
        full = best.taken.all() and c.early_stopping is True
        if full or not hopeful.any() or ended.all():
            break
        kept = (np.arange(B)[:, None] * sums.shape[1] + kept).ravel()
        history, cache = tried[kept], reorder(cache, rows[kept])
        z = host(model.next_logits(history[:, -1:], cache))
    return best.tokens[:, 0, : best.lengths[:, 0].max()]


def reorder(cache, rows):
    """Return the cache of these beams.

    They are of the same texts, so the adaptation and what is read of the encoder stay.
    """
    read = {path: front for path, front in cache.kv.items() if path.endswith(".cross")}
    written = {path: front for path, front in cache.kv.items() if path not in read}
    moved = replace(cache, kv=written, source=None).of(rows)
    return replace(moved, kv=moved.kv | read, source=cache.source, adaptation=cache.adaptation)


def nothing_finished(B, c, dtype):
    """Return a Finished without texts."""
    shape = B, c.num_beams
    tokens = np.full((*shape, c.max_new_tokens), c.pad)
    return Finished(tokens, np.zeros(shape, int), np.full(shape, OUT, dtype), np.zeros(shape, bool))


def largest(x, k: int):
    """Return the columns (B, k) of the k largest of each row of x, the largest first."""
    columns = np.sort(np.argpartition(x, -k, axis=1)[:, -k:], 1)
    order = np.argsort(-np.take_along_axis(x, columns, 1), 1, kind="stable")
    return np.take_along_axis(columns, order, 1)


def candidates(logs, scores, c, rng):
    """Return the M best texts one token longer: scores, beam and token, each (B, M).

    logs (B K, V): log-probabilities.  scores (B, K): of the beams.  M leaves K texts that go on if
    others end.
    """
    B, K = scores.shape
    least = max(2, 1 + len(c.eos))
    if c.temperature:
        logs = warp(logs, c, least)
    sums = (logs.reshape(B, K, -1) + scores[..., None]).reshape(B, -1)
    M = min(least * K, sums.shape[1])
    noise = rng.gumbel(size=sums.shape) if c.temperature else 0
    at = largest(sums + noise, M)
    return np.take_along_axis(sums, at, 1), *np.divmod(at, logs.shape[1])


def finish(best, tried, sums, ended, hopeful, n, c):
    """Return the K best of the texts that have ended: of `best`, and of the first K candidates."""
    (B, M), K = sums.shape, c.num_beams
    new = ended & (np.arange(M) < K)
    counts = new & hopeful & ~(best.taken.all(1, keepdims=True) & (c.early_stopping is True))
    scores = sums / LENGTHS[c.length_formula](n, c.length_penalty) + OUT * ~counts
    tokens = np.full((B, M, c.max_new_tokens), c.pad)
    tokens[..., :n] = tried[:, -n:].reshape(B, M, n)
    found = Finished(tokens, np.full((B, M), n), scores, new)
    both = [np.concatenate(pair, 1) for pair in zip(best, found, strict=True)]
    at = largest(both[2], K)
    pick = lambda x: np.take_along_axis(x, at.reshape(*at.shape, *[1] * (x.ndim - 2)), 1)
    return Finished(*map(pick, both))


def may_improve(best, scores, n, c):
    """Return whether the best running beam may beat the worst that has ended, (B, 1)."""
    longest = c.max_new_tokens if c.early_stopping == "never" and c.length_penalty > 0 else n
    possible = scores[:, :1] / LENGTHS[c.length_formula](longest, c.length_penalty)
    worst = np.where(best.taken, best.scores.min(1, keepdims=True), OUT)
    return (possible > worst).any(1, keepdims=True)
