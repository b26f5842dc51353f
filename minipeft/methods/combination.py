"""Weighted sums of LoRAs: one adaptation in place of several."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..adaptation.adaptation import Adaptation, parameter
from ..autograd.backend import host
from ..autograd.nn import same_weights
from .lora import LoRA


def combine(
    adaptations: Sequence[Adaptation], weights: Sequence[float], how: str = "concat"
) -> Adaptation:
    """Return an adaptation whose update of each matrix is Σ c ΔW, with a weight c for each LoRA.

    ΔW = (α/r) A B.  One LoRA with weight 1, and others with 0, give that LoRA, whatever `how` is.

    how="concat": A = [A₁ … Aₙ], B = [c₁ B₁; …; cₙ Bₙ], exact, of rank r₁ + … + rₙ.
    how="svd": the best approximation of Σ c ΔW of the largest of the ranks (Eckart & Young 1936).
    how="sum": A = Σ √c A, B = Σ √c B, of one rank, as combination_type="linear" of PEFT.  It also
    has the products √c √c' A B' of one LoRA's A with another one's B.

    adaptations: LoRAs, or DoRAs, of the same layers of one model.  The m of DoRA is Σ c m / Σ c.
    Raises ValueError for other adaptations, and for weights that are not finite numbers.
    """
    check(adaptations, weights, how)
    first, ranks = adaptations[0], [γ.method.rank for γ in adaptations]
    rank = sum(ranks) if how == "concat" else max(ranks)
    method = replace(first.method, rank=rank, alpha=float(rank), rank_stabilised=False)
    if how == "svd":
        method = replace(method, fused=False)  # q, k and v then have an A of their own
    factors = [c * γ.method.scale for c, γ in zip(weights, adaptations)]
    shared: dict[tuple, object] = {}  # {the As of a layer: the new A}, as q, k and v may share one

    def at(path):
        """Return the new parameters at a path."""
        As, Bs = ([γ.at[path][name] for γ in adaptations] for name in "AB")
        A, B = WAYS[how](factors, [host(A.data) for A in As], [host(B.data) for B in Bs])
        arrays = {"A": A, "B": B}
        if "m" in first.at[path]:
            ms = [host(γ.at[path]["m"].data) for γ in adaptations]
            arrays["m"] = sum(c * m for c, m in zip(weights, ms)) / sum(weights)
        like = As[0].data
        made = {n: parameter(np.asarray(x, like.dtype, like=like)) for n, x in arrays.items()}
        if method.fused:
            made["A"] = shared.setdefault(tuple(map(id, As)), made["A"])
        return made

    return Adaptation(method, {path: at(path) for path in first.at}, first.made_for)


def concat(c, As, Bs):
    """Return [A₁ … Aₙ] and [c₁ B₁; …; cₙ Bₙ]."""
    return np.hstack(As), np.vstack([c_i * B for c_i, B in zip(c, Bs)])


def svd(c, As, Bs):
    """Return the A √S and √S B of the largest singular values S of Σ c A B.

    They are those of a small matrix: with [A₁ … Aₙ] = Q_A R_A and [c₁ B₁; …; cₙ Bₙ]ᵀ = Q_B R_B,
    Σ c A B = Q_A (R_A R_Bᵀ) Q_Bᵀ.
    """
    rank = max(len(B) for B in Bs)
    A, B = concat(c, As, Bs)
    (Q_A, R_A), (Q_B, R_B) = np.linalg.qr(A), np.linalg.qr(B.T)
    U, S, V = np.linalg.svd(R_A @ R_B.T, full_matrices=False)
    root = np.sqrt(S[:rank])
    A, B = Q_A @ U[:, :rank] * root, root[:, None] * (V[:rank] @ Q_B.T)
    more = rank - len(root)  # a matrix may have fewer rows or columns than that
    return np.pad(A, ((0, 0), (0, more))), np.pad(B, ((0, more), (0, 0)))


def sums(c, As, Bs):
    """Return Σ √c A and Σ √c B, the sign of c at B."""
    roots = [math.sqrt(abs(c_i)) for c_i in c]
    A = sum(root * A for root, A in zip(roots, As))
    return A, sum(math.copysign(root, c_i) * B for root, c_i, B in zip(roots, c, Bs))


WAYS = {"concat": concat, "svd": svd, "sum": sums}


def check(adaptations, weights, how):
    """Raise ValueError for arguments of `combine` that can't be combined."""
    if how not in WAYS:
        raise ValueError(f"how={how!r} must be one of {', '.join(WAYS)}")
    if not adaptations or len(adaptations) != len(weights):
        raise ValueError(
            f"combine needs a weight for each adaptation; got {len(adaptations)} adaptations and "
            f"{len(weights)} weights"
        )
    numbers = np.asarray(weights)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
        raise ValueError(f"weights={[*weights]} must be finite numbers")
    first = adaptations[0]
    for γ in adaptations:
        if not isinstance(getattr(γ, "method", None), LoRA) or γ.users is not None:
            raise ValueError(f"{γ} can't be combined: only LoRA and DoRA can, and no bank of users")
        if type(γ.method) is not type(first.method) or {*γ.at} != {*first.at}:
            raise ValueError(
                f"{first} and {γ} have other methods or layers, and can't be combined: "
                "Chain([a, b]) uses both, and combine([a], [0.5]) halves the update of one"
            )
        if how == "sum" and γ.method.rank != first.method.rank:
            raise ValueError(
                f'how="sum" needs LoRAs of one rank; got {first.method.rank} and {γ.method.rank}: '
                'use how="concat" or "svd"'
            )
        if γ.made_for and not same_weights(γ.made_for.weights, first.made_for.weights):
            raise ValueError(f"{first} and {γ} were made for models with other weights")
    if "m" in next(iter(first.at.values())) and not sum(weights):
        raise ValueError("the weights of DoRAs must not add up to 0: m is a weighted mean")
