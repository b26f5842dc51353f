"""Prompt tuning: Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning"."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation

FREQUENT = 5000  # §3.2: words are drawn from the most frequent, the first rows of the vocabulary


@dataclass
class PromptTuning(Adaptation):
    """Pr(Y | [P; X])        the rows of P stand before the embedded text        §2

    `init`, §3.2, says what P starts from. "vocabulary": rows of random words. "uniform": U[-½, ½].
    "text": the rows of `words`, token ids, over and over. "labels": for each of `words`, the token
    ids of one label, their mean row; then random words.
    """

    length: int = 20  # rows of P
    init: str = "vocabulary"  # vocabulary, uniform, text or labels
    words: tuple = ()  # token ids, for text and labels
    targets: str = r"^tokens$"  # which layers, by path: a regular expression

    rate = 3e-2

    def start(self, layer, rng):
        W, k = layer.W.data, self.length
        if self.init == "uniform":
            return [rng.uniform(-0.5, 0.5, (k, W.shape[1]))]
        if self.init == "vocabulary":
            return [self.some_words(W, k, rng)]
        if self.init not in ("text", "labels"):
            raise ValueError(f"init={self.init!r}: there is uniform, vocabulary, text, labels")
        if not self.words:
            raise ValueError(f"init={self.init!r} starts from words=, which is empty")
        if np.hstack(self.words).min() < 0 or np.hstack(self.words).max() >= len(W):
            raise ValueError(f"words are token ids from 0 to {len(W) - 1}; got {self.words}")
        if self.init == "text":
            return [W[np.resize(self.words, k)]]
        labels = np.stack([W[list(ids)].mean(0) for ids in self.words])[:k]
        return [np.concatenate([labels, self.some_words(W, k - len(labels), rng)])]

    def some_words(self, W, k, rng):
        population = min(FREQUENT, len(W))
        return W[rng.choice(population, k, replace=k > population)]

    def past(self, layer, P):
        return [P]
