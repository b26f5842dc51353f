"""Where a row stands: what a scheme of positions adds to rows or scores, or how it turns q and k.

B batch   T rows   P rows in front   K key heads   d of a head
"""

import math

import numpy as np

from .nn import Embedding, Module
from .ops import angles, rotate


class Positions(Module):
    """No positions."""

    def place(self, h, read):
        return h

    def turn(self, x, read):
        return x

    def front(self, k):
        """Keys (B, P, K d) of rows that stand first, at positions 0, 1, …"""
        return k

    def bias(self, read, real):
        return None


class Learned(Positions, Embedding):
    """h + W[position]"""

    def place(self, h, read):
        have, need = len(self.W.data), int(read.position_ids.max(initial=-1)) + 1
        if need > have:
            raise ValueError(
                f"the text, with what stands before it, is {need} long; "
                f"the model has {have} positions: shorten it"
            )
        return h + read(self, read.position_ids)


class Rotary(Positions):
    """q and k turned by their position times ω_i = θ^(-2i/d)        Su et al. 2021

    stretch: (factor, low, high, length), as Llama 3.1 reads longer texts than it was trained on.
    """

    def __init__(self, d, theta, stretch=()):
        self.ω = theta ** (-np.arange(0, d, 2) / d)
        if stretch:
            self.ω = self.ω * stretched(self.ω, *stretch)

    def place(self, h, read):
        read.angles = angles(read.position_ids, self.ω, like=h.data)
        return h

    def turn(self, x, read):
        return rotate(x, *read.angles)

    def front(self, k):
        return rotate(k, *angles(np.arange(k.shape[1])[None], self.ω, like=k.data))


def stretched(ω, factor, low, high, length):
    """What frequencies are multiplied by: 1/factor where `length` holds less than `low` of their
    waves, 1 where it holds more than `high`, a line between        Grattafiori et al. 2024, §3.4.3
    """
    waves = length * ω / (2 * math.pi)
    return np.interp(waves, (low, high), (1 / factor, 1))


POSITIONS = {
    "learned": lambda rng, c: Learned(rng, c.length, c.width, std=0.01),
    "rotary": lambda rng, c: Rotary(c.d, c.theta, c.stretch),
    "none": lambda rng, c: Positions(),
}
