"""Ensembles: several adaptations of one frozen classifier, all asked in one batch.

N adaptations   B texts   T tokens   C classes
"""

import numpy as np

from .backend import host
from .heads import Classifier
from .mixture import Each
from .tensor import no_grad


def ensemble(model, methods, ids, mask=None, types=None):
    """p_n(c | text b), (N, B, C), of N copies of the texts (B, T)        Lester et al. 2021, §6"""
    methods, B = list(methods), len(ids)
    if not methods or not isinstance(model, Classifier):
        raise ValueError(
            "an ensemble is of a Classifier, with one adaptation or more: ensemble(model, [γ, …], "
            f"ids); got {type(model).__name__} and {methods}"
        )
    each = Each([γ for γ in methods for _ in range(B)])
    ids, mask, types = (x if x is None else list(x) * len(methods) for x in (ids, mask, types))
    with no_grad():
        z = host(model(ids, each, mask, types=types).data).reshape(len(methods), B, -1)
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def majority_vote(p):
    """The class that most of the N think likeliest, (B,), of p (N, B, C)

    The paper has no rule for a tie: here, of the classes with most votes, it is the one with the
    largest Σ_n log p_n(c), and the first of those if that is equal too.
    """
    p = probabilities(p)
    votes = (p.argmax(-1)[..., None] == np.arange(p.shape[-1])).sum(0)  # (B, C)
    logs = np.log(np.maximum(p, np.finfo(p.dtype).tiny)).sum(0)
    return np.where(votes == votes.max(-1, keepdims=True), logs, -np.inf).argmax(-1)


def mean_probability(p):
    """1/N Σ_n p_n(c), (B, C), of p (N, B, C)"""
    return probabilities(p).mean(0)


def probabilities(p):
    p = np.asarray(p)
    if p.ndim != 3 or not p.size or p.dtype.kind != "f" or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"ensemble(…) returns probabilities (N, B, C); this is {p.dtype}{p.shape}")
    return p
