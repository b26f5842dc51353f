"""Blocks of a transformer: attention, feed-forward layers, norms and residual connections.

B batch   T queries   S keys   D width   H heads   K key heads   G = H / K   d width of a head
"""

from dataclasses import replace

import numpy as np

from ..autograd.functional import attention, join_heads, split_heads
from ..autograd.nn import Embedding, Linear, Module
from .config import ACTIVATIONS, NORMS
from .positions import Positions


class NoTokenTypes(Module):
    """Null object in place of token types: nothing is added."""

    def embed(self, h, token_types, forward):
        return h


class TokenTypes(NoTokenTypes, Embedding):
    """h + W[type]; virtual tokens have type 0        Devlin et al. 2019, §3"""

    def embed(self, h, token_types, forward):
        return h + forward(self, np.pad(token_types, ((0, 0), (forward.prompt, 0))))


class Identity(Module):
    """y = x"""

    def __call__(self, x):
        return x


def residual_std(c):
    """Return the initial standard deviation of W_o and W_down        Radford et al. 2019, §2.3"""
    return 0.02 * (2 * c.layers) ** -0.5


class Attention(Module):
    """W_o [head_1; …; head_H]        Vaswani et al. 2017, §3.2.2

    norm, positions: the norm before the attention and the network's position scheme, for methods
    that compute keys and values themselves.
    """

    composite = True

    def __init__(self, c, rng, positions, norm):
        self.width, self.positions, self.norm = c.width, positions, norm
        self.K, self.d, D = c.key_heads or c.heads, c.d, c.width
        self.causal, self.scale = c.causal, c.d**-0.5 if c.scaled_attention else 1.0
        self.q = Linear(D, c.heads * c.d, rng, bias="q" in c.biases)
        self.k = Linear(D, self.K * c.d, rng, bias="k" in c.biases)
        self.v = Linear(D, self.K * c.d, rng, bias="v" in c.biases)
        self.o = Linear(c.heads * c.d, D, rng, residual_std(c), bias="o" in c.biases)

    def __call__(self, x, forward):
        q, k, v, bias, masked = self.operands(x, forward)
        heads = attention(q, k, v, bias, masked=masked, scale=self.scale)
        return forward(self.o, join_heads(heads))

    def operands(self, x, forward):
        """Return q (B, K, G, T, d), k and v (B, K, 1, S, d), and the scores' bias and mask."""
        q = self.positions.turn(forward(self.q, x), forward)  # (B, T, H d)
        k, v, real = self.keys_and_values(x, forward)  # (B, S, K d)
        q, k, v = (split_heads(z, self.K, self.d) for z in (q, k, v))
        bias, masked = forward.bias(self.positions, real), forward.mask(real, q.data, self.causal)
        return q, k, v, bias, masked

    def keys_and_values(self, x, forward):
        """Return keys and values of x, behind those of prefix and cache, and which are real."""
        k = self.positions.turn(forward(self.k, x), forward)  # rotated before a prefix is added
        return forward.extend(self, k, forward(self.v, x))


class CrossAttention(Attention):
    """Attention from the rows of a decoder to those of an encoder, without positions

    Vaswani et al. 2017, §3.2.3
    """

    def __init__(self, c, rng):
        super().__init__(replace(c, causal=False), rng, Positions(), Identity())

    def keys_and_values(self, x, forward):
        """Return keys and values of the encoder's states, and which are real."""
        return forward.source(self, lambda h: [forward(self.k, h), forward(self.v, h)])


class Mlp(Module):
    """W_down σ(W_up x)        Vaswani et al. 2017, eq. 2"""

    composite = True

    def __init__(self, c, rng):
        self.width, F, self.σ = c.width, c.ffn_width or 4 * c.width, ACTIVATIONS[c.activation]
        self.up = Linear(c.width, F, rng, bias="up" in c.biases)
        self.down = Linear(F, c.width, rng, residual_std(c), bias="down" in c.biases)

    def __call__(self, x, forward):
        return forward(self.down, self.σ(forward(self.up, x)))


class GatedMlp(Mlp):
    """W_down (σ(W_gate x) ⊙ W_up x)        Shazeer 2020, eq. 6"""

    def __init__(self, c, rng):
        super().__init__(c, rng)
        self.gate = Linear(*self.up.shape, rng, bias="gate" in c.biases)

    def __call__(self, x, forward):
        return forward(self.down, self.σ(forward(self.gate, x)) * forward(self.up, x))


class Block(Module):
    """h ← h + attn(ln1(h));  h ← h + mlp(ln2(h))        Radford et al. 2019, §2.3

    cross: a decoder's block, with h ← h + cross(ln3(h)) between the two.
    """

    composite = True
    cross = None

    def __init__(self, c, rng, positions, cross=False):
        norm = NORMS[c.norm]
        self.ln1 = norm(c.width, c.eps)
        self.attn = Attention(c, rng, positions, self.attention_norm())
        if cross:
            self.ln3, self.cross = norm(c.width, c.eps), CrossAttention(c, rng)
        self.ln2, self.mlp = norm(c.width, c.eps), (GatedMlp if c.gated else Mlp)(c, rng)

    def attention_norm(self):
        """Return the norm between the input of the block and its attention, if any."""
        return self.ln1

    def __call__(self, h, forward):
        h = forward.keep_needed(self, h + forward(self.attn, forward(self.ln1, h)))
        if self.cross:
            h = h + forward(self.cross, forward(self.ln3, h))
        return h + forward(self.mlp, forward(self.ln2, h))


class PostNormBlock(Block):
    """h ← ln1(h + attn(h));  h ← ln2(h + mlp(h))        Vaswani et al. 2017, §3.1"""

    def attention_norm(self):
        return Identity()

    def __call__(self, h, forward):
        h = forward.keep_needed(self, h + forward(self.attn, h))
        h = forward(self.ln1, h)
        if self.cross:
            h = forward(self.ln3, h + forward(self.cross, h))
        return forward(self.ln2, h + forward(self.mlp, h))
