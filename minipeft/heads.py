"""Heads other than a language model's: a class for each text, from a pooled state."""

import numpy as np

from .adapt import PLAIN
from .nn import Linear, Module
from .ops import cross_entropy, matmul, reshape
from .tensor import Tensor
from .transformer import Stack, checked

# pool: which columns are read, (B, R), and how their states are weighed, (B, 1, R)


def last(mask):
    """The last real token of each row."""
    if not mask.any(1).all():
        raise ValueError(f"row {np.argmin(mask.any(1))} of the batch has no real token")
    rows = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    return rows[:, None], np.ones((len(mask), 1, 1))


def mean(mask):
    """Σ m_t h_t / Σ m_t"""
    B, T = mask.shape
    return np.broadcast_to(np.arange(T), (B, T)), (mask / mask.sum(1, keepdims=True))[:, None]


POOLS = {"last": last, "mean": mean}


class Head(Module):
    """Scores of features that are already there: a frozen trunk's, computed once for a probe."""

    def __init__(self, score, config):
        self.score, self.config = score, config

    def __call__(self, features, adapt=PLAIN, mask=None, rng=None):
        """Logits (B, C) of features (B, 1, D)."""
        features = np.asarray(features, like=self.score.like)
        return by_class(adapt.now(rng)(self.score, Tensor(features)))

    def loss(self, x, labels, adapt=PLAIN, mask=None, rng=None, count=None):
        """Mean cross-entropy of labels (B,); `count` as in Decoder.loss."""
        z, labels = self(x, adapt, mask, rng=rng), self.targets(labels)
        if len(labels) != len(z.data):
            raise ValueError(f"{len(labels)} labels for a batch of {len(z.data)}")
        return cross_entropy(z, labels, count or len(labels))

    def targets(self, labels, mask=None):
        labels, C = np.asarray(labels), self.score.W.shape[1]
        if labels.dtype.kind not in "iu" or not labels.size:
            raise ValueError(f"labels are whole numbers, one for each text; got {labels!r}")
        if labels.ndim != 1 or labels.min() < 0 or labels.max() >= C:
            raise ValueError(f"labels must be (batch,) and from 0 to {C - 1}; got {labels!r}")
        return labels


class Classifier(Stack, Head):
    """softmax(W pool(h)): the trunk of a decoder under a head of its own, W = 0 at first"""

    def __init__(self, decoder, classes, pool="last"):
        if pool not in POOLS:
            raise ValueError(f"pool={pool!r}: there is {', '.join(POOLS)}")
        vars(self).update({name: part for name, part in vars(decoder).items() if name != "head"})
        self.pool = pool
        nothing = np.random.default_rng(0)  # a scale of 0 leaves nothing of it
        score = Linear(nothing, self.config.width, classes, std=0.0, bias=False)
        self.score = score.map(lambda t: Tensor(np.array(t.data, self.dtype, like=self.like)))
        self.frozen()

    def features(self, ids, adapt=PLAIN, mask=None, rng=None):
        """Pooled states (B, 1, D) of the real tokens of ids (B, T)."""
        ids, mask = checked(ids, mask, self.config.vocabulary)
        if not mask.any(1).all():
            raise ValueError(f"row {np.argmin(mask.any(1))} of the batch has no real token to pool")
        rows, weights = POOLS[self.pool](mask)
        h, read = self.states(ids, adapt, mask, rng=rng, rows=rows)
        return matmul(np.asarray(weights, h.dtype, like=h.data), h), read

    def __call__(self, ids, adapt=PLAIN, mask=None, rng=None):
        """Logits (B, C) of texts (B, T)."""
        x, read = self.features(ids, adapt, mask, rng)
        return by_class(read(self.score, x))


def by_class(z):
    """(B, 1, C) -> (B, C)"""
    return reshape(z, (z.shape[0], z.shape[2]))
