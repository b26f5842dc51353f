"""Prompt tuning: Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning"."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation
from ..backend import host


@dataclass
class PromptTuning(Adaptation):
    """[P; X]        embeddings of words        Lester et al. 2021, §2

    The rows of P stand before the embedded text.  `init`, §3.2, says what they start from.
    "vocabulary": rows of random words.  "uniform": U[-½, ½].  "text": the rows of `words`, token
    ids, over and over.  "labels": for each of `words`, the token ids of one label, their mean row;
    then random words.
    """

    length: int = 20  # rows of P
    init: str = "vocabulary"  # vocabulary, uniform, text or labels
    words: tuple = ()  # token ids, for text and labels
    frequent: int = 5000  # random words are drawn from so many, the first and most frequent
    targets: str = r"^tokens$"  # which layers, by path: a regular expression

    rate = 3e-2

    def start(self, layer, rng):
        return [start(self, layer.W.data, rng)]

    def past(self, layer, P):
        return [P]


def start(γ, W, rng):
    """P (k, D) as γ.init says, γ.length being k; W (V, D) is the embedding."""
    k, init, words = γ.length, γ.init, γ.words
    if words and init in ("uniform", "vocabulary"):
        raise ValueError(f"init={init!r} starts from no words=: init='text' or 'labels' does")
    if init == "uniform":
        return rng.uniform(-0.5, 0.5, (k, W.shape[1]))
    if init == "vocabulary":
        return some_words(γ, W, k, rng)
    if init not in ("text", "labels"):
        raise ValueError(f"init={init!r}: there is uniform, vocabulary, text, labels")
    if not words:
        raise ValueError(f"init={init!r} starts from words=, which is empty")
    nested = {isinstance(word, (tuple, list)) and len(word) > 0 for word in words}
    if nested != {init == "labels"}:
        like = "((5, 8), (3,))" if init == "labels" else "(5, 8)"
        raise ValueError(f"init={init!r}: words are token ids such as {like}; got {words}")
    if np.hstack(words).min() < 0 or np.hstack(words).max() >= len(W):
        raise ValueError(f"words are token ids from 0 to {len(W) - 1}; got {words}")
    if init == "text":
        return W[np.resize(words, k)]
    labels = np.stack([W[list(ids)].mean(0) for ids in words])[:k]
    return np.concatenate([labels, some_words(γ, W, k - len(labels), rng)])


def some_words(γ, W, k, rng):
    """Each once, as long as there are enough."""
    population = min(γ.frequent, len(W))
    return W[rng.choice(population, k, replace=k > population)]


def nearest(P, W, n=1):
    """The n words nearest to each row of P (k, D) by cosine: ids and cosines (k, n)        §7

    W (V, D) is the embedding, model.tokens.W; both are tensors or arrays.
    """
    P, W = (np.asarray(host(getattr(x, "data", x))) for x in (P, W))
    if P.ndim != 2 or P.shape[1:] != W.shape[1:] or not 1 <= n <= len(W):
        raise ValueError(
            f"nearest: rows (k, {W.shape[1]}) and n from 1 to {len(W)}; got {P.shape} and {n}"
        )
    P, W = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (P, W))
    cosines = P @ W.T
    ids = np.argsort(-cosines, axis=1, kind="stable")[:, :n]
    return ids, np.take_along_axis(cosines, ids, 1)
