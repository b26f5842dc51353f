"""Verbalizers: the words that stand for each class, and how their scores become p(y | x).

N texts   W words   C classes   V vocabulary
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..autograd.ops import exp, log, matmul, sum
from ..autograd.tensor import Tensor

TOKENS = "first", "mean", "product", "normalized"
COMBINE = "sum", "mean"


@dataclass(frozen=True)
class Verbalizer:
    """The words V_y of each class y        Liu et al. 2021c, §2.2.3

    words: {class: word, or several words}, as they are in the text, without the space in front.
    tokens: the score s(w) of a word of several tokens:
    "product": log p(w | x), the sum of the log-probabilities of its tokens, one after the other
    and, of a decoder, of what follows the slot
    "normalized": this divided by the number of these tokens: Brown et al. 2020, §2.4
    "first": the logit of its first token
    "mean": the mean of the logits of its tokens, all at the slot: Ding et al. 2022
    combine: how the words of a class are combined:
    "sum": p(y | x) = Σ_{w ∈ V_y} exp s(w) / Σ_w exp s(w).  A class with more words gets more.
    "mean": p(y | x) ∝ exp(mean of s(w) over V_y): Schick & Schütze 2021, code
    """

    words: Mapping[Hashable, str | Sequence[str]]
    tokens: str = "product"
    combine: str = "sum"

    def __post_init__(self):
        for name, known in (("tokens", TOKENS), ("combine", COMBINE)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name}={value!r} must be one of {', '.join(known)}")
        if not isinstance(self.words, Mapping):
            raise ValueError(
                f"words={self.words!r} must be {{class: word}}, such as "
                "{'bad': 'disliked', 'good': ('liked', 'loved')}"
            )
        listed = {y: (w,) if isinstance(w, str) else tuple(w) for y, w in self.words.items()}
        object.__setattr__(self, "words", listed)
        if len(listed) < 2 or not all(listed.values()) or not all(map(str.strip, self.all_words)):
            raise ValueError(f"words={self.words!r} must have a word for each of several classes")
        if spaced := [w for w in self.all_words if w != w.strip()]:
            raise ValueError(
                f"the word {spaced[0]!r} begins or ends with a space: write {spaced[0].strip()!r}; "
                "the template has the space before [MASK]"
            )
        if repeated := [w for w in self.all_words if self.all_words.count(w) > 1]:
            raise ValueError(f"the word {repeated[0]!r} is given twice: each word means one class")

    @property
    def classes(self) -> list:
        return [*self.words]

    @property
    def all_words(self) -> list[str]:
        return [word for words in self.words.values() for word in words]

    @property
    def membership(self) -> np.ndarray:
        """M (W, C): whether a word is one of a class."""
        counts = [len(words) for words in self.words.values()]
        return np.repeat(np.eye(len(counts)), counts, axis=0)

    @property
    def weights(self) -> np.ndarray:
        """M (W, C): the mean over the words of each class is s M."""
        return self.membership / self.membership.sum(0)

    def class_log_p(self, scores: Tensor) -> Tensor:
        """Return log p(y | x), (N, C), for scores (N, W) of the words."""
        M = self.weights if self.combine == "mean" else self.membership
        M = np.asarray(M, scores.dtype, like=scores.data)
        if self.combine == "mean":
            return log_softmax(matmul(scores, M))
        parts = [scores.data[:, column > 0] for column in self.membership.T]
        most = np.stack([part.max(1) for part in parts], 1)  # (N, C), so that exp can't underflow
        return log_softmax(log(matmul(exp(scores - most @ M.T), M)) + most)


def as_verbalizer(words: Mapping | Verbalizer) -> Verbalizer:
    """Return a Verbalizer as it is, and one of the words of each class."""
    return words if isinstance(words, Verbalizer) else Verbalizer(words)


def log_softmax(z: Tensor) -> Tensor:
    """Return log softmax(z) along the last axis."""
    z = z - z.data.max(-1, keepdims=True)
    return z - log(sum(exp(z), axis=-1, keepdims=True))


def numbered(options: Mapping[Hashable, str]) -> tuple[str, Verbalizer]:
    """Return the options as a numbered list, and a verbalizer of their numbers.

    >>> text, verbalizer = numbered({"bad": "disliked it", "good": "liked it"})
    >>> text
    '1. disliked it 2. liked it'
    >>> verbalizer.words
    {'bad': ('1',), 'good': ('2',)}
    """
    text = " ".join(f"{i}. {option}" for i, option in enumerate(options.values(), 1))
    return text, Verbalizer({y: str(i) for i, y in enumerate(options, 1)})
