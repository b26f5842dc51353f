"""Heads that classify texts and tokens or find spans, and the trunk without a head.

B batch   T tokens   R positions   D width   C classes
"""

from dataclasses import replace
from numbers import Integral

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.cache import Cache
from ..adaptation.method import as_adaptation
from ..autograd.functional import attention, cross_entropy
from ..autograd.nn import Linear, Module
from ..autograd.ops import matmul, reshape, transpose
from ..autograd.tensor import Tensor
from .bert import Pooler
from .inputs import (
    check_inputs,
    check_labels,
    check_mask,
    check_not_empty,
    check_targets,
    last_columns,
)
from .transformer import Transformer

NO_TRUNK = "head", "transform", "pooler", "query", "score"  # attributes outside the trunk

# A pool returns the positions (B, R) that it reads, and the weights (B, 1, R) of their states in
# the pooled state.  mask (B, T): False at padding.


def last(mask):
    """Return the position of the last real token of each text, with weight 1."""
    return last_columns(mask), np.ones((len(mask), 1, 1))


def first(mask):
    """Return the position of the first real token of each text, such as [CLS], with weight 1."""
    return np.argmax(mask, axis=1)[:, None], np.ones((len(mask), 1, 1))


def mean(mask):
    """Return all positions and the weights m_t / Σ m_t of the mean over the real tokens."""
    B, T = mask.shape
    return np.broadcast_to(np.arange(T), (B, T)), (mask / mask.sum(1, keepdims=True))[:, None]


# attention starts at the mean, and its query changes the weights: see Query
POOLS = {"last": last, "mean": mean, "cls": first, "first": first, "attention": mean}


def check_pool(pool: str) -> None:
    """Raise ValueError for an unknown pool."""
    if pool not in POOLS:
        raise ValueError(f"pool={pool!r} must be one of {', '.join(POOLS)}")


def pooling(pool: str, mask):
    """Return what the pool of that name returns for mask (B, T).

    Raises ValueError for an unknown pool, and for a text without a real token.
    """
    check_pool(pool)
    check_not_empty(mask)
    return POOLS[pool](mask)


class Head(Module):
    """Head without a trunk: its inputs are features, which a frozen trunk computed beforehand."""

    def __init__(self, score, config):
        self.score, self.config = score, config

    outputs = property(lambda self: self.score.W.shape[1])  # number of classes

    def __call__(self, features, adaptation: Adaptation | None = None, *, mask=None, rng=None):
        """Return logits (B, C) of features (B, 1, D)."""
        features = np.asarray(features, like=self.score.reference_array)
        adaptation = as_adaptation(adaptation)
        adaptation.check_batch(len(features))
        return self.logits(Tensor(features), adaptation.resolve(rng))

    def logits(self, h, forward):
        """Return logits (B, C) of pooled hidden states (B, 1, D)."""
        z = forward(self.score, h)
        return reshape(z, (z.shape[0], z.shape[2]))

    def loss(
        self,
        x,
        labels,
        adaptation: Adaptation | None = None,
        *,
        mask=None,
        rng=None,
        count: int | None = None,
        **inputs,
    ) -> Tensor:
        """Return the mean cross-entropy of the labels, a scalar.

        x: what `__call__` reads: features, or token ids.  mask (B, T): False at padding.
        labels: (B,) of texts, (B, T) of tokens, (B, 2) of spans; -100: none, but not of texts.
        rng: generator of dropout; None: no dropout.  count: see LanguageModel.loss.
        """
        targets = self.targets(labels, mask)
        return self.loss_at(x, targets, adaptation, mask=mask, rng=rng, count=count, **inputs)

    def loss_at(self, x, targets, /, adaptation=None, *, mask=None, rng=None, count=None, **inputs):
        """Return the loss for what `targets` returned for the labels."""
        z = self(x, adaptation, mask=mask, rng=rng, **inputs)
        check_targets(targets, z.shape[:-1])
        return cross_entropy(z, targets, count or max(1, (targets >= 0).sum()))

    def targets(self, labels, mask=None):
        """Return the class of each text, (B,); raise ValueError if labels are not such classes."""
        labels, C = np.asarray(labels), self.outputs
        if C == 1:
            raise ValueError("a loss needs at least two classes; regression is not supported")
        if labels.dtype.kind not in "iu" or not labels.size:
            raise ValueError(f"labels must be integers, one for each text; got {labels!r}")
        if labels.ndim != 1 or labels.min() < 0 or labels.max() >= C:
            raise ValueError(f"labels must be (batch,) and from 0 to {C - 1}; got {labels!r}")
        return labels


class TokenHead(Head):
    """Head that returns logits (B, T, C) of features (B, T, D): a class for each token."""

    def logits(self, h, forward):
        return forward(self.score, h)

    def targets(self, labels, mask=None):
        """Return the class of each token (B, T), or -100; raise ValueError for other labels."""
        return check_labels(labels, mask, self.score.W.shape[1])[0]


class SpanHead(TokenHead):
    """Head that returns logits (B, T, 2) for the first and the last token of an answer."""

    def loss_at(self, x, targets, /, adaptation=None, *, mask=None, rng=None, count=None, **inputs):
        """Return the mean of -log p(start | text) and -log p(end | text), without padding."""
        z = transpose(self(x, adaptation, mask=mask, rng=rng, **inputs))  # (B, 2, T)
        check_targets(targets, z.shape[:-1])
        masked = ~check_mask(mask, np.shape(x)[:2])[:, None]
        lowest = np.asarray(masked * np.finfo(z.dtype).min / 2, z.dtype, like=z.data)
        return cross_entropy(z + lowest, targets, count or max(1, (targets >= 0).sum()))

    def targets(self, labels, mask=None):
        """Return the columns (B, 2) of the first and the last token of each answer, or -100.

        Raises ValueError for other labels, and for columns of padding.
        """
        labels = np.asarray(labels)
        if labels.dtype.kind not in "iu" or labels.ndim != 2 or labels.shape[1] != 2:
            raise ValueError(f"labels must be (batch, 2), starts and ends; got {labels!r}")
        if np.ndim(mask) == 2 and not are_real(labels, np.asarray(mask)):
            raise ValueError(f"labels must be columns of real tokens, or -100; got {labels}")
        return labels


def are_real(labels, real):
    """Return whether each label (B, 2) is the column of a real token of its row, or -100."""
    if len(labels) != len(real) or (labels >= real.shape[1]).any():
        return False
    there = np.take_along_axis(real != 0, np.maximum(labels, 0), 1)
    return ((labels == -100) | (labels >= 0) & there).all()


def trunk_of(model) -> dict:
    """Return {name: attribute} of the trunk of a model."""
    return {name: part for name, part in vars(model).items() if name not in NO_TRUNK}


def check_trunk(network: type, trunk) -> None:
    """Raise TypeError or ValueError unless a network of this class can have this trunk."""
    if not isinstance(trunk, Transformer):
        raise TypeError(f"{network.__name__}(model, …) needs a model first; got {trunk!r:.40}")
    if trunk.config.decoder_layers:
        raise ValueError(
            f"{network.__name__} of an encoder–decoder is not supported: use a decoder or an "
            "encoder, or let the decoder write the name of the class"
        )


class Features(Transformer):
    """Trunk of a model: it returns hidden states."""

    def __init__(self, trunk: Transformer):
        check_trunk(type(self), trunk)
        vars(self).update(trunk_of(trunk))
        self.freeze()


class Headed(Transformer, Head):
    """Trunk of a model with a new head, `score`: W = 0, and b = 0 if it has a bias."""

    def __init__(self, trunk: Transformer, classes: int, bias: bool = False):
        check_trunk(type(self), trunk)
        if not isinstance(classes, Integral) or classes < 1:
            raise ValueError(f"classes={classes!r} must be an integer of at least 1")
        vars(self).update(trunk_of(trunk))
        unused = np.random.default_rng(0)  # std=0 makes all numbers 0
        score = Linear(self.config.width, classes, unused, std=0.0, bias=bias)
        self.score = score.map(self.adjusted)
        self.freeze()

    def adjusted(self, t):
        """Return a copy of a tensor with the dtype and on the device of the trunk."""
        return Tensor(np.array(t.data, self.dtype, like=self.reference_array))

    def features(self, ids, adaptation=None, *, mask=None, token_types=None, rng=None):
        """Return the features that the head reads, for ids (B, T), and the Forward."""
        raise NotImplementedError

    def __call__(
        self,
        ids,
        adaptation: Adaptation | None = None,
        *,
        mask=None,
        token_types=None,
        rng=None,
    ) -> Tensor:
        """Return logits, (B, C) of texts (B, T) or (B, T, C) of their tokens; see `states`."""
        return self.logits(
            *self.features(ids, adaptation, mask=mask, token_types=token_types, rng=rng)
        )


def has_pooler(model) -> bool:
    """Return whether a model has a pooler."""
    return isinstance(getattr(model, "pooler", None), Pooler)


class NoPooler(Module):
    """Null object in place of a pooler: y = x"""

    def pooled(self, x, forward):
        return x


class Query(Linear):
    """Σ a_t h_t,  a = softmax(h q)        Yang et al. 2016, eq. 6 and 7, with u = h

    The softmax is over the real tokens.  q (D, 1) starts at 0, where the sum is their mean, and is
    trained with the head.
    """

    def __init__(self, c):
        super().__init__(c.width, 1, np.random.default_rng(0), std=0.0, bias=False)

    def pooled(self, h, weights, forward):
        """Return the sum (B, 1, D) of hidden states h (B, T, D); weights are 0 at padding."""
        scores, h = (reshape(x, (len(x), 1, 1, *x.shape[1:])) for x in (forward(self, h), h))
        one = Tensor(np.asarray(np.ones((1,) * 5), h.dtype, like=h.data))
        pooled = attention(one, scores, h, masked=weights[:, None, None] == 0)
        return reshape(pooled, (h.shape[0], 1, h.shape[-1]))


class NoQuery(Module):
    """Null object in place of a query: the weights are those of the pool"""

    def pooled(self, h, weights, forward):
        return matmul(weights, h)


class Classifier(Headed):
    """softmax(W pool(h)): classes of texts

    pool: the hidden state that W reads: of the "last" real token, the "mean" of all real tokens, of
    the "first" real token, such as [CLS], or "cls", the same after the pooler of an encoder, a part
    of the frozen model.  "attention": a mean whose weights a trained Query computes.

    BERT has a pooler.  RoBERTa and DistilBERT have one in the head of a text classifier alone: for
    a new head it is new, W = I and b = 0.  PEFT trains all of that head, and only this is in its
    format: Chain(LoRA(), FullFineTuning("^pooler$"), Probe()).
    """

    def __init__(self, trunk, classes, pool="last", bias=False):
        super().__init__(trunk, classes, bias)
        check_pool(pool)
        may_be_new = not (trunk.causal or trunk.config.has_pooler)
        if pool == "cls" and not (may_be_new or has_pooler(trunk)):
            instead = "'last' or 'mean'" if trunk.causal else "'first' or 'mean'"
            raise ValueError(f"pool='cls' needs an encoder with a pooler; use {instead}")
        if pool == "first" and trunk.causal:
            raise ValueError(
                "pool='first': the first token of a decoder does not see the text; use 'last' or "
                "'mean'"
            )
        self.pool, self.pooler, self.query = pool, NoPooler(), NoQuery()
        if pool == "cls":
            self.pooler = trunk.pooler if has_pooler(trunk) else self.new_pooler()
        if pool == "attention":
            self.query = Query(self.config).map(self.adjusted)
        self.freeze()

    def new_pooler(self):
        """Return a pooler with W = I and b = 0."""
        pooler = Pooler(self.config, np.random.default_rng(0), std=0.0)
        pooler.W.data += np.eye(self.config.width, dtype=np.float32)
        return pooler.map(self.adjusted)

    def fingerprint(self):
        return replace(super().fingerprint(), pool=self.pool)

    def features(self, ids, adaptation=None, *, mask=None, token_types=None, rng=None):
        """Return pooled hidden states (B, 1, D), and the Forward."""
        cache = Cache(adaptation, rng, keep=False)
        inputs = check_inputs(self.config, ids, cache.adaptation, mask, token_types)
        positions, weights = pooling(self.pool, inputs.real)
        h, forward = self.run(inputs, cache, positions)
        return self.pooled(h, weights, forward), forward

    def pooled(self, h, weights, forward):
        """Return pooled hidden states (B, 1, D) of h (B, R, D), with the weights of `pooling`."""
        weights = np.asarray(weights, h.dtype, like=h.data)
        return self.pooler.pooled(self.query.pooled(h, weights, forward), forward)

    def pool_states(self, h, mask, forward):
        """Return pooled hidden states (B, 1, D) of those of all tokens, h (B, T, D)."""
        positions, weights = pooling(self.pool, mask)
        rows = np.arange(len(mask))[:, None]
        rows, positions = (np.asarray(i, like=h.data) for i in (rows, positions))
        return self.pooled(Tensor(h.data[rows, positions]), weights, forward)


class TokenClassifier(Headed, TokenHead):
    """softmax(W h_t) for every token t: classes of tokens"""

    def features(self, ids, adaptation=None, *, mask=None, token_types=None, rng=None):
        """Return hidden states (B, T, D), and the Forward."""
        return self.states(ids, adaptation, mask=mask, token_types=token_types, rng=rng)


class SpanClassifier(TokenClassifier, SpanHead):
    """softmax_t(W h_t), for the start and the end of an answer        Devlin et al. 2019, §4.2"""

    def __init__(self, trunk, bias=True):
        super().__init__(trunk, 2, bias)
