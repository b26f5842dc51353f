"""Position schemes: embeddings added to the hidden states, or rotations of queries and keys.

B batch   T rows   P virtual tokens   K key heads   d width of a head
"""

import math

import numpy as np

from ..autograd.functional import angles, rotate
from ..autograd.nn import Embedding, Module
from ..autograd.ops import reshape, transpose_axes


class Positions(Module):
    """Scheme without positions, and the base class of the others."""

    def embed(self, h, forward):
        """Return hidden states h (B, T, D) with position embeddings added."""
        return h

    def turn(self, x, forward):
        """Return queries or keys x (B, T, heads · d) rotated by their positions."""
        return x

    def turn_front(self, k):
        """Return keys (B, P, K d) of virtual tokens, rotated by their positions 0, 1, …, P - 1."""
        return k

    def bias(self, real, forward):
        """Return what is added to the scores, (B or 1, K, G, T, S), or None; real (B, S)."""
        return None


class Learned(Positions, Embedding):
    """h + W[position + offset]        W (offset + length, D)"""

    def __init__(self, c, rng):
        super().__init__(c.position_offset + c.length, c.width, rng, std=0.01)
        self.offset = c.position_offset

    def embed(self, h, forward):
        have, need = len(self.W.data) - self.offset, int(forward.position_ids.max(initial=-1)) + 1
        if need > have:
            raise ValueError(
                f"the text and its virtual tokens need {need} positions, and the model has {have}: "
                "shorten the text"
            )
        return h + forward(self, forward.position_ids + self.offset)


class Rotary(Positions):
    """Rotate q and k by position · ω_i,  ω_i = θ^(-2i/d)        Su et al. 2021, §3.2.2

    θ: 10000 in the paper.  scaling: (factor, low, high, length) for texts longer than in training,
    as in Llama 3.1, or (): see `frequency_scale`.
    """

    def __init__(self, d, theta, scaling=()):
        self.ω = theta ** (-np.arange(0, d, 2) / d)
        if scaling:
            self.ω = self.ω * frequency_scale(self.ω, *scaling)

    def embed(self, h, forward):
        forward.angles = angles(forward.position_ids, self.ω, like=h.data)
        return h

    def turn(self, x, forward):
        return rotate(x, *forward.angles)

    def turn_front(self, k):
        return rotate(k, *angles(np.arange(k.shape[1])[None], self.ω, like=k.data))


def frequency_scale(ω, factor, low, high, length):
    """Return the factors (d/2,) of rotary frequencies ω        Grattafiori et al. 2024, code

    1/factor where `length` tokens, the longest text in training, have fewer than `low` wavelengths,
    1 where they have more than `high`, and linear in between.
    """
    waves = length * ω / (2 * math.pi)
    return np.interp(waves, (low, high), (1 / factor, 1))


class Relative(Positions, Embedding):
    """scores + W[bucket(key - query), head]        W (buckets, H)        Raffel et al. 2020, §2.1

    All blocks of a stack share W.  Virtual tokens count like words, so `shift_positions` of a
    method makes no difference.
    """

    def __init__(self, c, rng):
        super().__init__(c.buckets, c.heads, rng)
        self.K, self.causal, self.max_distance = c.key_heads or c.heads, c.causal, c.max_distance

    def bias(self, real, forward):
        at, T = forward.key_positions(real), forward.real.shape[1]
        if one_distance(at, real):  # the same in all rows, unless W is not
            at = np.arange(at.shape[1])[None].repeat(forward.rows_of(self), 0)
        (B, S), (n, H) = at.shape, self.shape
        distance = at[:, None] - at[:, S - T :, None]  # (B, T, S)
        x = forward(self, bucket(distance.reshape(B, -1), n, self.max_distance, self.causal))
        return transpose_axes(reshape(x, (B, T, S, self.K, H // self.K)), (0, 3, 4, 1, 2))


def one_distance(at, real):
    """Return whether the distances of real rows are those of their columns, at (B, S)."""
    start = np.arange(at.shape[1]) - at
    first = np.take_along_axis(start, real.argmax(1)[:, None], 1)
    return ((start == first) | ~real).all()


def bucket(distance, buckets, max_distance, causal):
    """Return the bucket of each distance, key minus query        Raffel et al. 2020, §2.1, code

    Without `causal`, half of the buckets are for keys after the query.  Of those of a direction,
    half have one distance each, and the others grow as its logarithm, up to max_distance.
    """
    n = buckets if causal else buckets // 2
    away, exact = np.maximum(-distance, 0) if causal else np.abs(distance), n // 2
    growth = np.log(np.maximum(away, exact).astype("f4") / exact) / math.log(max_distance / exact)
    far = exact + (growth * (n - exact)).astype(int)
    return np.where(away < exact, away, np.minimum(far, n - 1)) + n * (not causal) * (distance > 0)


POSITIONS = {
    "learned": Learned,
    "rotary": lambda c, rng: Rotary(c.d, c.rope_theta, c.rope_scaling),
    "relative": Relative,
    "none": lambda c, rng: Positions(),
}
