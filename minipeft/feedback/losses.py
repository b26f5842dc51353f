"""Losses of learning from human feedback: pure functions of tensors.

N answers   T tokens of an answer   B prompts   K ranked answers to each
mask (N, T): True at the tokens of an answer
"""

import numpy as np

from ..autograd.functional import clip, log_sigmoid, relu
from ..autograd.ops import exp, reshape, sum
from ..autograd.tensor import Tensor


def pairwise_loss(r: Tensor, weights, margins=0.0) -> Tensor:
    """-Σ w_ij log σ(r_i - r_j - m_ij), a scalar        Ouyang et al. 2022, eq. 1

    r (B, K): scores   weights (B, K, K): of each pair, answer i preferred to answer j
    margins (B, K, K): by how much r_i should exceed r_j        Touvron et al. 2023b, eq. 2
    """
    B, K = r.shape
    weights, margins = arrays(r, weights, margins)
    Δ = reshape(r, (B, K, 1)) - reshape(r, (B, 1, K))
    return -sum(log_sigmoid(Δ - margins) * weights)


def policy_loss(log_p: Tensor, old, A, mask, *, epsilon: float = 0.2, count=None) -> Tensor:
    """Mean of max(-A ρ, -A clip(ρ, 1 ± ε)),  ρ = π / π_old        Schulman et al. 2017, eq. 7

    log_p (N, T): log π of the tokens   old (N, T): log π_old, of the policy that sampled them
    A (N, T): advantages   count: see `mean`

    At ρ = 1 the gradient is -A ∇log π, the policy gradient.  It is 0 where ρ has left 1 ± ε in the
    direction of A, so several epochs on the same answers stay near the policy that sampled them.
    """
    old, A = arrays(log_p, old, A)
    ρ = exp(log_p - old)
    return mean(maximum(-A * ρ, -A * clip(ρ, 1 - epsilon, 1 + epsilon)), mask, count)


def value_loss(V: Tensor, old, R, mask, *, epsilon: float = 0.2, count=None) -> Tensor:
    """Mean of ½ max((V - R)², (clip(V, V_old ± ε) - R)²)        Ziegler et al. 2019, code

    V (N, T): values   old (N, T): those of the network that saw the answers first
    R (N, T): returns   count: see `mean`
    """
    old, R = arrays(V, old, R)
    clipped = clip(V, old - epsilon, old + epsilon)
    return mean(maximum((V - R) ** 2, (clipped - R) ** 2) * 0.5, mask, count)


def mean(x: Tensor, mask, count=None) -> Tensor:
    """Return the mean of x (N, T) over the mask; count: the divisor, for a shard of a batch."""
    (weights,) = arrays(x, mask)
    return sum(x * weights) / (np.sum(mask) if count is None else count)


def maximum(a: Tensor, b: Tensor) -> Tensor:
    """Return max(a, b)."""
    return b + relu(a - b)


def arrays(x: Tensor, *values) -> list:
    """Return values as arrays of the dtype and on the device of a tensor."""
    return [np.asarray(value, x.dtype, like=x.data) for value in values]
