"""Ensembles: several adaptations of one frozen classifier, evaluated in one batch.

N adaptations   B texts   T tokens   C classes
"""

from collections.abc import Iterable

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.each import Each
from ..autograd.backend import host
from ..autograd.tensor import no_grad
from .heads import Classifier


def ensemble(
    model: Classifier, adaptations: Iterable[Adaptation], ids, *, mask=None, token_types=None
) -> np.ndarray:
    """Return p_n(c | text b), (N, B, C), for texts ids (B, T)        Lester et al. 2021, §6

    mask, token_types (B, T): as for the model.  Raises ValueError without a Classifier.
    """
    adaptations, B = list(adaptations), len(ids)
    if not adaptations or not isinstance(model, Classifier):
        raise ValueError(
            "ensemble needs a Classifier and at least one adaptation, ensemble(model, [γ, …], ids)"
            f"; got a {type(model).__name__} and {adaptations}"
        )
    each = Each([γ for γ in adaptations for _ in range(B)])
    repeat = lambda x: x if x is None else list(x) * len(adaptations)
    with no_grad():
        z = model(repeat(ids), each, mask=repeat(mask), token_types=repeat(token_types)).data
    z = host(z).reshape(len(adaptations), B, -1)
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def majority_vote(p) -> np.ndarray:
    """Return, for p (N, B, C), the class (B,) that most of the N adaptations find most likely.

    The paper has no rule for a tie.  Here it goes to the class with the largest Σ_n log p_n(c), or,
    if these are equal too, to the first class.
    """
    p = check_probabilities(p)
    votes = (p.argmax(-1)[..., None] == np.arange(p.shape[-1])).sum(0)  # (B, C)
    logs = np.log(np.maximum(p, np.finfo(p.dtype).tiny)).sum(0)
    return np.where(votes == votes.max(-1, keepdims=True), logs, -np.inf).argmax(-1)


def mean_probability(p, weights=None) -> np.ndarray:
    """Return Σ_n w_n p_n(c) / Σ_n w_n, (B, C), for p (N, B, C); weights (N,): None: all equal."""
    p = check_probabilities(p)
    weights = np.ones(len(p)) if weights is None else np.asarray(weights, float)
    if weights.shape != p.shape[:1] or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError(
            f"weights must be (N,), finite, not negative and not all 0, for p {p.shape}; got "
            f"{weights}"
        )
    return np.average(p, axis=0, weights=weights)


def check_probabilities(p):
    """Return p as an array; raise ValueError if it is not probabilities (N, B, C)."""
    p = np.asarray(p)
    if p.ndim != 3 or not p.size or p.dtype.kind != "f" or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"p must be probabilities (N, B, C), from `ensemble`; got {p.dtype} {p.shape}"
        )
    return p
