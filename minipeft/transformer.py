"""Transformers that know nothing of the methods that adapt them.

B batch   T queries   S keys   D width   K key heads   G heads to each   d = D/(K G)   V vocabulary
"""

from dataclasses import dataclass

import numpy as np

from .adapt import PLAIN
from .nn import Embedding, Linear, Module, Norm, RMSNorm, Tied, but
from .ops import angles, attention, cross_entropy, gelu, join_heads, rotate, split_heads
from .reading import Memory, Reading


@dataclass(frozen=True)
class Config:
    """What a decoder is made of.  The defaults are GPT-2's kind: Radford et al. 2019."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    length: int  # the longest text, in tokens
    key_heads: int | None = None  # grouped-query attention; None: as many as heads
    hidden: int | None = None  # None: 4 · width
    positions: str = "learned"  # learned | rotary | none
    norm: str = "layer"  # layer | rms
    eps: float = 1e-5
    tied: bool = True  # the head is the embedding, read backwards

    def __post_init__(self):
        groups = self.key_heads or self.heads
        if min(self.vocabulary, self.width, self.heads, self.length, groups) < 1:
            raise ValueError(f"nothing in a configuration is less than 1: {self}")
        if self.width % self.heads or self.heads % groups:
            raise ValueError(
                f"width {self.width} must be a multiple of heads {self.heads}, "
                f"and heads of key_heads {groups}"
            )
        for field, known in (("positions", POSITIONS), ("norm", NORMS)):
            if getattr(self, field) not in known:
                raise ValueError(f"{field}={getattr(self, field)!r}: there is {', '.join(known)}")


class Positions(Module):
    """No positions; a scheme says what it adds to rows or scores, or how it turns q and k."""

    def place(self, h, read):
        return h

    def turn(self, x, read):
        return x

    def bias(self, read, real):
        return None


class Learned(Positions, Embedding):
    """h + W[position]"""

    def place(self, h, read):
        have, need = len(self.W.data), int(read.at.max(initial=-1)) + 1
        if need > have:
            raise ValueError(
                f"the text, with what stands before it, is {need} long; "
                f"the model has {have} positions: shorten it"
            )
        return h + read(self, read.at)


class Rotary(Positions):
    """q and k turned by their position        Su et al. 2021"""

    def __init__(self, d):
        self.d = d

    def place(self, h, read):
        read.angles = angles(read.at, self.d, like=h.data)
        return h

    def turn(self, x, read):
        return rotate(x, *read.angles)


POSITIONS = {
    "learned": lambda rng, c: Learned(rng, c.length, c.width, std=0.01),
    "rotary": lambda rng, c: Rotary(c.width // c.heads),
    "none": lambda rng, c: Positions(),
}
NORMS = {"layer": Norm, "rms": RMSNorm}


class Attention(Module):
    """W_o [head_1; …; head_H]        Vaswani et al. 2017, §3.2.2"""

    inner = True

    def __init__(self, rng, c):
        self.K, self.d = c.key_heads or c.heads, c.width // c.heads
        self.q, self.k, self.v = (
            Linear(rng, c.width, n * self.d) for n in (c.heads, self.K, self.K)
        )
        self.o = Linear(rng, c.width, c.width, std=0.02 * (2 * c.layers) ** -0.5)

    def __call__(self, x, read):
        q = read.positions.turn(read(self.q, x), read)  # (B, T, D)
        k = read.positions.turn(read(self.k, x), read)  # turned first, then behind a prefix
        k, v, real = read.extend(self, k, read(self.v, x))  # (B, S, K d)
        q, k, v = (split_heads(z, self.K, self.d) for z in (q, k, v))
        bias = read.positions.bias(read, real)
        hidden = read.hides(real, like=q.data)
        y = attention(q, k, v, bias, hidden=hidden, scale=self.d**-0.5)
        return read(self.o, join_heads(y))


class Mlp(Module):
    """W_down gelu(W_up x)"""

    inner = True

    def __init__(self, rng, c):
        F = c.hidden or 4 * c.width
        self.up = Linear(rng, c.width, F)
        self.down = Linear(rng, F, c.width, std=0.02 * (2 * c.layers) ** -0.5)

    def __call__(self, x, read):
        return read(self.down, gelu(read(self.up, x)))


class Block(Module):
    """h ← h + attn(ln1(h));  h ← h + mlp(ln2(h))"""

    inner = True

    def __init__(self, rng, c):
        norm = NORMS[c.norm]
        self.ln1, self.attn = norm(c.width, c.eps), Attention(rng, c)
        self.ln2, self.mlp = norm(c.width, c.eps), Mlp(rng, c)

    def __call__(self, h, read):
        h = h + read(self.attn, read(self.ln1, h))
        h = read.asked(self, h)
        return h + read(self.mlp, read(self.ln2, h))


class Stack(Module):
    """Embedding, blocks, norm: the trunk that heads stand on."""

    causal = True

    def __init__(self, rng, config):
        c = self.config = config
        self.tokens = Embedding(rng, c.vocabulary, c.width)
        self.positions = POSITIONS[c.positions](rng, c)
        self.blocks = [Block(rng, c) for _ in range(c.layers)]
        self.ln = NORMS[c.norm](c.width, c.eps)

    def states(self, ids, adapt=PLAIN, mask=None, memory=None, rng=None, rows=None):
        """States (B, T, D) of ids (B, T) after what `memory` has read, and the reading.

        mask (B, T): 1 for tokens, 0 for padding, anywhere.  rng: dropout, where there is any.
        rows (B, R): the columns of which states are asked; then they are (B, R, D).
        """
        ids, real = checked(ids, mask, self.config.vocabulary)
        if memory and adapt is not None and adapt is not PLAIN:
            raise ValueError(
                "a memory has its own adaptation: Memory(γ), then model(ids, memory=m)"
            )
        given = memory or Memory(adapt, rng, keep=False)
        given.adapt.fits(self.config)
        given.adapt.beside(self)
        return self.stream(ids, real, memory or self.prompted(given, len(ids)), rows)

    def stream(self, ids, real, memory, rows=None):
        read = Reading(memory, self.positions, self.causal, self.blocks[-1], rows)
        h = read.lead(self.tokens, read(self.tokens, ids), real, self.blocks[0].attn)
        h = self.positions.place(h, read)
        for block in self.blocks:
            h = read(block, h)
        return read(self.ln, h), read

    def prompted(self, memory, B):
        """A causal prompt can't depend on the text: one that all B rows share is read once."""
        adapt = memory.adapt
        if B == 1 or not (self.causal and adapt.shared and adapt.before(self.tokens, 1)):
            return memory
        memory = but(memory, keep=True)
        self.stream(np.zeros((1, 0), int), np.ones((1, 0), bool), memory)
        return memory.shared(B)


def checked(ids, mask, vocabulary):
    """Token ids (B, T) and which are real, as arrays on the host; an error for anything else."""
    try:
        ids = np.asarray(ids)
    except ValueError:
        raise ValueError(
            "ids are ragged: pad the rows to one length and say with mask= which are real"
        ) from None
    if ids.ndim != 2 or 0 in ids.shape or ids.dtype.kind not in "iu":
        raise ValueError(
            f"ids must be whole numbers (batch, length), neither empty; got {ids.dtype} {ids.shape}"
        )
    if ids.min() < 0 or ids.max() >= vocabulary:
        stray = ids[(ids < 0) | (ids >= vocabulary)][0]
        raise ValueError(f"token id {stray} is outside the vocabulary of {vocabulary}")
    mask = np.ones(ids.shape, bool) if mask is None else np.asarray(mask).astype(bool)
    if mask.shape != ids.shape:
        raise ValueError(f"mask {mask.shape} must have the shape of ids {ids.shape}")
    return ids, mask


class Decoder(Stack):
    """A causal language model: logits of the next token at every row."""

    def __init__(self, config, rng):
        super().__init__(rng, config)
        self.head = (
            Tied(self.tokens)
            if config.tied
            else Linear(rng, config.width, config.vocabulary, bias=False)
        )
        self.frozen()

    def __call__(self, ids, adapt=PLAIN, mask=None, memory=None, rng=None, rows=None):
        """Logits (B, T, V) of ids (B, T); with rows (B, R) (B, R, V).  Arguments as of `states`."""
        h, read = self.states(ids, adapt, mask, memory, rng, rows)
        return read(self.head, h)

    def loss(self, ids, labels, adapt=PLAIN, mask=None, rng=None, count=None):
        """Mean of -log p(labels[t] | ids[:t]) but for labels of -100, and of padding.

        count: divide the sum by this instead of the number of labels: a shard's part of a batch.
        """
        ids, mask = checked(ids, mask, self.config.vocabulary)
        target = self.targets(labels, mask)
        rows, R = None, max(1, (target >= 0).sum(1).max())
        if R < 0.9 * target.shape[1]:  # logits only where a label is asked, if that spares a tenth
            rows = np.sort(np.argsort(target < 0, axis=1, kind="stable")[:, :R], axis=1)
            target = np.take_along_axis(target, rows, 1)
        z = self(ids, adapt, mask, rng=rng, rows=rows)
        return cross_entropy(z, target, count or max(1, (target >= 0).sum()))

    def targets(self, labels, mask=None):
        """What each token (B, T) is to predict: the next real one's label; -100 where nothing."""
        labels = np.asarray(labels)
        if labels.dtype.kind not in "iu" or ((labels < 0) & (labels != -100)).any():
            raise ValueError("labels are token ids, or -100 where there is none")
        real = np.ones(labels.shape, bool) if mask is None else np.asarray(mask).astype(bool)
        V, largest = self.config.vocabulary, labels.max(initial=-100)
        if labels.shape != real.shape or largest >= V:
            raise ValueError(
                f"labels must have the shape of ids {real.shape} and be -100 or from 0 to {V - 1}; "
                f"got {labels.shape}, the largest {largest}"
            )
        row, at = np.nonzero(real)  # the real tokens, in the order in which they are read
        follows = row[1:] == row[:-1]
        target = np.full(labels.shape, -100)
        target[row[:-1][follows], at[:-1][follows]] = labels[row[1:][follows], at[1:][follows]]
        return target
