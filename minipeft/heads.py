"""Heads other than a language model's: a class for each text or token, a span of it, or none."""

import numpy as np

from .adaptation.method import PLAIN, adaptation
from .nn import Linear, Module
from .ops import cross_entropy, matmul, reshape, transpose
from .tensor import Tensor
from .transformer import Stack, checked, labelled

NO_TRUNK = "head", "transform", "pooler", "score"  # the parts of a model that stand on its trunk

# pool: which columns are read, (B, R), and how their states are weighed, (B, 1, R)


def last(mask):
    """The last real token of each row."""
    rows = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    return rows[:, None], np.ones((len(mask), 1, 1))


def first(mask):
    """The first real token of each row, as [CLS]."""
    return np.argmax(mask, axis=1)[:, None], np.ones((len(mask), 1, 1))


def mean(mask):
    """Σ m_t h_t / Σ m_t"""
    B, T = mask.shape
    return np.broadcast_to(np.arange(T), (B, T)), (mask / mask.sum(1, keepdims=True))[:, None]


POOLS = {"last": last, "mean": mean, "cls": first}


def known(pool):
    """The pool of that name; an error if there is none."""
    if pool not in POOLS:
        raise ValueError(f"pool={pool!r}: there is {', '.join(POOLS)}")
    return POOLS[pool]


def pooling(pool, mask):
    """The columns and weights of a pool; an error for a row of which nothing is there to pool."""
    if not mask.any(1).all():
        raise ValueError(f"row {np.argmin(mask.any(1))} of the batch has no real token")
    return known(pool)(mask)


class Head(Module):
    """Scores of features that are already there: a frozen trunk's, computed once for a probe."""

    def __init__(self, score, config):
        self.score, self.config = score, config

    def __call__(self, features, adapt=PLAIN, mask=None, rng=None):
        """Logits (B, C) of features (B, 1, D)."""
        features = np.asarray(features, like=self.score.like)
        adapt = adaptation(adapt)
        adapt.check_batch(len(features))
        return self.logits(Tensor(features), adapt.resolve(rng))

    def logits(self, h, read):
        """(B, 1, D) -> (B, C)"""
        z = read(self.score, h)
        return reshape(z, (z.shape[0], z.shape[2]))

    def loss(self, x, labels, adapt=PLAIN, mask=None, rng=None, count=None, **more):
        """Mean cross-entropy of the labels; `count` as in Decoder.loss, `more` as of the model."""
        real = None if mask is None else np.asarray(mask).astype(bool)
        z, target = self(x, adapt, mask, rng=rng, **more), self.targets(labels, real)
        if target.shape != z.shape[:-1]:
            raise ValueError(
                f"{len(target)} labels for a batch of {len(z.data)}: they are {target.shape}, "
                f"but must be {z.shape[:-1]}"
            )
        return cross_entropy(z, target, count or max(1, (target >= 0).sum()))

    def targets(self, labels, mask=None):
        labels, C = np.asarray(labels), self.score.W.shape[1]
        if C == 1:
            raise ValueError("a single class leaves nothing to learn, and this is no regression")
        if labels.dtype.kind not in "iu" or not labels.size:
            raise ValueError(f"labels are whole numbers, one for each text; got {labels!r}")
        if labels.ndim != 1 or labels.min() < 0 or labels.max() >= C:
            raise ValueError(f"labels must be (batch,) and from 0 to {C - 1}; got {labels!r}")
        return labels


class TokenHead(Head):
    """Scores of each token: logits (B, T, C) of features (B, T, D), and labels (B, T)."""

    def logits(self, h, read):
        return read(self.score, h)

    def targets(self, labels, mask=None):
        """What each token (B, T) is: its own label; -100 where there is none."""
        return labelled(labels, mask, self.score.W.shape[1])[0]


class SpanHead(TokenHead):
    """Scores of each token as the first, and as the last, of an answer: logits (B, T, 2)."""

    def loss(self, x, labels, adapt=PLAIN, mask=None, rng=None, count=None, **more):
        """Mean of -log p(start | text) and -log p(end | text) of labels (B, 2), -100 for none."""
        z = transpose(self(x, adapt, mask, rng=rng, **more))  # (B, 2, T)
        real = np.ones(np.shape(x)[:2], bool) if mask is None else np.asarray(mask).astype(bool)
        target, hidden = self.targets(labels, real), ~real[:, None]
        never = np.asarray(hidden * np.finfo(z.dtype).min / 2, z.dtype, like=z.data)
        return cross_entropy(z + never, target, count or max(1, (target >= 0).sum()))

    def targets(self, labels, mask=None):
        """The columns (B, 2) where an answer starts and where it ends."""
        labels = np.asarray(labels)
        if labels.dtype.kind not in "iu" or labels.ndim != 2 or labels.shape[1] != 2:
            raise ValueError(f"labels are (batch, 2), a start and an end; got {labels!r}")
        if mask is not None and not spoken(labels, np.asarray(mask)):
            raise ValueError(
                f"labels are columns of real tokens, one row a text, or -100: {labels}"
            )
        return labels


def spoken(labels, real):
    """Does each label (B, 2) name a column of its row that is real, or none?"""
    if len(labels) != len(real) or (labels >= real.shape[1]).any():
        return False
    there = np.take_along_axis(real != 0, np.maximum(labels, 0), 1)
    return ((labels == -100) | (labels >= 0) & there).all()


def trunk_of(model):
    """What heads stand on: its parts, by name."""
    return {name: part for name, part in vars(model).items() if name not in NO_TRUNK}


class Features(Stack):
    """The states of a model's trunk."""

    def __init__(self, trunk):
        vars(self).update(trunk_of(trunk))
        self.frozen()

    def __call__(self, ids, adapt=PLAIN, mask=None, memory=None, rng=None, rows=None, types=None):
        """States (B, T, D) of ids (B, T); with rows (B, R) (B, R, D).  Arguments as of `states`."""
        return self.states(ids, adapt, mask, memory, rng, rows, types)[0]


class Headed(Stack, Head):
    """The trunk of a model under a head of its own, W = 0 at first, and b, if it has a bias."""

    alone = Head  # what scores its features, once they are there

    def __init__(self, trunk, classes, bias=False):
        if classes < 1:
            raise ValueError(f"classes={classes} must be at least 1")
        vars(self).update(trunk_of(trunk))
        nothing = np.random.default_rng(0)  # a scale of 0 leaves nothing of it
        score = Linear(nothing, self.config.width, classes, std=0.0, bias=bias)
        self.score = score.map(lambda t: Tensor(np.array(t.data, self.dtype, like=self.like)))
        self.frozen()

    def __call__(self, ids, adapt=PLAIN, mask=None, rng=None, types=None):
        """Logits (B, C) of texts (B, T), or (B, T, C) of their tokens."""
        return self.logits(*self.features(ids, adapt, mask, rng, types))


class Unpooled(Module):
    """No pooler: the pooled state as it is."""

    def pooled(self, x, read):
        return x


class Classifier(Headed):
    """softmax(W pool(h)).  pool: the "last" real token, the "mean" of all, or "cls", the first.

    Of an encoder the first is [CLS], which its pooler has read: part of θ, as BERT's heads have it.
    """

    def __init__(self, trunk, classes, pool="last", bias=False):
        known(pool)
        if pool == "cls" and not hasattr(trunk, "pooler"):
            raise ValueError(
                "pool='cls' is of an encoder with a pooler; there is 'last' and 'mean'"
            )
        super().__init__(trunk, classes, bias)
        self.pool, self.pooler = pool, trunk.pooler if pool == "cls" else Unpooled()
        self.frozen()

    def features(self, ids, adapt=PLAIN, mask=None, rng=None, types=None):
        """Pooled states (B, 1, D) of the real tokens of ids (B, T), and the reading."""
        ids, mask = checked(ids, mask, self.config.vocabulary, adapt)
        rows, weights = pooling(self.pool, mask)
        h, read = self.states(ids, adapt, mask, rng=rng, rows=rows, types=types)
        pooled = matmul(np.asarray(weights, h.dtype, like=h.data), h)
        return self.pooler.pooled(pooled, read), read


class TokenClassifier(Headed, TokenHead):
    """softmax(W h_t) at every token"""

    alone = TokenHead

    def features(self, ids, adapt=PLAIN, mask=None, rng=None, types=None):
        """States (B, T, D) of ids (B, T), and the reading."""
        return self.states(ids, adapt, mask, rng=rng, types=types)


class SpanClassifier(TokenClassifier, SpanHead):
    """softmax(W h_t) over the tokens t: where an answer starts and ends        Devlin 2019, §4.2"""

    alone = SpanHead

    def __init__(self, trunk, bias=True):
        super().__init__(trunk, 2, bias)
