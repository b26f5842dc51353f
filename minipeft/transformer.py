"""Transformers that know nothing of the methods that adapt them.

B batch   T queries   S keys   D width   K key heads   G heads to each   d of a head   V vocabulary
"""

from dataclasses import dataclass

import numpy as np

from .adapt import PLAIN
from .nn import Embedding, Linear, Module, Norm, RMSNorm, Tied, but
from .ops import attention, cross_entropy, exact_gelu, gelu, join_heads, silu, split_heads
from .positions import POSITIONS
from .reading import Memory, Reading

LINEARS = "q", "k", "v", "o", "gate", "up", "down"


@dataclass(frozen=True)
class Config:
    """What a network is made of.  The defaults are GPT-2's kind: Radford et al. 2019."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    length: int  # the longest text, in tokens
    key_heads: int | None = None  # grouped-query attention; None: as many as heads
    head_width: int | None = None  # None: width / heads
    hidden: int | None = None  # None: 4 · width
    positions: str = "learned"  # learned | rotary | none
    theta: float = 10000.0  # of rotary positions, and
    stretch: tuple = ()  # for longer texts than in training: see Rotary
    window: int | None = None  # a token sees so many, itself among them; None: all
    norm: str = "layer"  # layer | rms
    eps: float = 1e-5
    tied: bool = True  # the head is the embedding, read backwards
    activation: str = "gelu_tanh"  # gelu_tanh | gelu | silu
    gated: bool = False  # the activation of one matrix times another
    biased: tuple = LINEARS  # which of these have a bias
    post: bool = False  # norms after each part, not before
    causal: bool = True  # nobody sees younger tokens
    types: int = 0  # of tokens, as the two texts of a pair

    def __post_init__(self):
        groups, window = self.key_heads or self.heads, self.window or 1
        if min(self.vocabulary, self.width, self.heads, self.length, groups, window) < 1:
            raise ValueError(f"nothing in a configuration is less than 1: {self}")
        for name in ("eps", "theta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be more than 0")
        factor, low, high, _ = self.stretch or (1, 0, 1, None)
        if not (factor > 0 and 0 <= low < high):
            raise ValueError(f"stretch={self.stretch}: 0 < factor and 0 <= low < high, see Rotary")
        if self.heads % groups or not self.head_width and self.width % self.heads:
            raise ValueError(
                f"width {self.width} must be a multiple of heads {self.heads}, "
                f"and heads of key_heads {groups}"
            )
        choices = {"positions": POSITIONS, "norm": NORMS, "activation": ACTIVATIONS}
        for field, known in choices.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field}={getattr(self, field)!r}: there is {', '.join(known)}")
        if not {*self.biased} <= {*LINEARS}:
            raise ValueError(f"biased={self.biased}: there is {', '.join(LINEARS)}")
        if self.positions == "rotary" and self.d % 2:
            raise ValueError(f"rotary positions turn pairs: a head can't have {self.d} numbers")

    @property
    def d(self):
        """Numbers of a head."""
        return self.head_width or self.width // self.heads


NORMS = {"layer": Norm, "rms": RMSNorm}
ACTIVATIONS = {"gelu_tanh": gelu, "gelu": exact_gelu, "silu": silu}


class Untyped(Module):
    """All tokens are of one type."""

    def place(self, h, types, read):
        return h


class Types(Untyped, Embedding):
    """h + W[type]; what stands before the text is of type 0        Devlin et al. 2019, §3"""

    def place(self, h, types, read):
        return h + read(self, np.pad(types, ((0, 0), (read.prompt, 0))))


class Same(Module):
    """No norm: x as it is."""

    def __call__(self, x):
        return x


def last(c):
    """The deviation at the start of what is added to the stream        Radford et al. 2019, §2.3"""
    return 0.02 * (2 * c.layers) ** -0.5


class Attention(Module):
    """W_o [head_1; …; head_H]        Vaswani et al. 2017, §3.2.2

    norm is what its input comes from, and positions the network's: a method may ask for them.
    """

    inner = True

    def __init__(self, rng, c, positions, norm):
        self.width, self.positions, self.norm = c.width, positions, norm
        self.K, self.d, D = c.key_heads or c.heads, c.d, c.width
        self.q = Linear(rng, D, c.heads * c.d, bias="q" in c.biased)
        self.k = Linear(rng, D, self.K * c.d, bias="k" in c.biased)
        self.v = Linear(rng, D, self.K * c.d, bias="v" in c.biased)
        self.o = Linear(rng, c.heads * c.d, D, last(c), bias="o" in c.biased)

    def __call__(self, x, read):
        q = self.positions.turn(read(self.q, x), read)  # (B, T, D)
        k = self.positions.turn(read(self.k, x), read)  # turned first, then behind a prefix
        k, v, real = read.extend(self, k, read(self.v, x))  # (B, S, K d)
        q, k, v = (split_heads(z, self.K, self.d) for z in (q, k, v))
        bias = self.positions.bias(read, real)
        hidden = read.hides(real, like=q.data)
        y = attention(q, k, v, bias, hidden=hidden, scale=self.d**-0.5)
        return read(self.o, join_heads(y))


class Mlp(Module):
    """W_down σ(W_up x)"""

    inner = True

    def __init__(self, rng, c):
        self.width, F, self.σ = c.width, c.hidden or 4 * c.width, ACTIVATIONS[c.activation]
        self.up = Linear(rng, c.width, F, bias="up" in c.biased)
        self.down = Linear(rng, F, c.width, last(c), bias="down" in c.biased)

    def __call__(self, x, read):
        return read(self.down, self.σ(read(self.up, x)))


class GatedMlp(Mlp):
    """W_down (σ(W_gate x) ⊙ W_up x)        Shazeer 2020, eq. 6"""

    def __init__(self, rng, c):
        super().__init__(rng, c)
        self.gate = Linear(rng, *self.up.shape, bias="gate" in c.biased)

    def __call__(self, x, read):
        return read(self.down, self.σ(read(self.gate, x)) * read(self.up, x))


class Block(Module):
    """h ← h + attn(ln1(h));  h ← h + mlp(ln2(h))"""

    inner = True

    def __init__(self, rng, c, positions):
        norm = NORMS[c.norm]
        self.ln1 = norm(c.width, c.eps)
        self.attn = Attention(rng, c, positions, self.ahead())
        self.ln2, self.mlp = norm(c.width, c.eps), (GatedMlp if c.gated else Mlp)(rng, c)

    def ahead(self):
        """What stands between the block's input and its attention."""
        return self.ln1

    def __call__(self, h, read):
        h = h + read(self.attn, read(self.ln1, h))
        h = read.asked(self, h)
        return h + read(self.mlp, read(self.ln2, h))


class PostBlock(Block):
    """h ← ln1(h + attn(h));  h ← ln2(h + mlp(h))        Vaswani et al. 2017, §3.1"""

    def ahead(self):
        return Same()

    def __call__(self, h, read):
        h = read.asked(self, h + read(self.attn, h))
        h = read(self.ln1, h)
        return read(self.ln2, h + read(self.mlp, h))


class Stack(Module):
    """Embedding, blocks, norm: the trunk that heads stand on."""

    kept = {}  # settings of its folder with which nothing is computed

    def __init__(self, rng, config):
        c = self.config = config
        self.causal = c.causal
        self.tokens = Embedding(rng, c.vocabulary, c.width)
        self.positions = POSITIONS[c.positions](rng, c)
        self.types = Types(rng, c.types, c.width) if c.types else Untyped()
        block = PostBlock if c.post else Block
        self.blocks = [block(rng, c, self.positions) for _ in range(c.layers)]
        self.ln = NORMS[c.norm](c.width, c.eps)
        self.order = [self.ln, *self.blocks] if c.post else [*self.blocks, self.ln]

    def states(self, ids, adapt=PLAIN, mask=None, memory=None, rng=None, rows=None, types=None):
        """States (B, T, D) of ids (B, T) after what `memory` has read, and the reading.

        mask (B, T): 1 for tokens, 0 for padding, anywhere.  rng: dropout, where there is any.
        rows (B, R): the columns of which states are asked; then they are (B, R, D).
        types (B, T): of the tokens, where they have any; None: all are of type 0.
        """
        if memory and adapt is not None and adapt is not PLAIN:
            raise ValueError(
                "a memory has its own adaptation: Memory(γ), then model(ids, memory=m)"
            )
        if memory and memory.real is not None and not self.causal:
            raise ValueError("what reads both ways can't read on: give it the whole text at once")
        given = memory or Memory(adapt, rng, keep=False)
        given.adapt.fits(self.config)
        given.adapt.beside(self)
        ids, real = checked(ids, mask, self.config.vocabulary, given.adapt)
        types = typed(types, ids.shape, self.config.types)
        return self.stream(ids, real, memory or self.prompted(given, len(ids)), rows, types)

    def stream(self, ids, real, memory, rows=None, types=None):
        read = Reading(memory, self.config, self.blocks[-1], rows)
        h = read.lead(self.tokens, read(self.tokens, ids), real, self.blocks[0].attn)
        h = self.types.place(self.positions.place(h, read), types, read)
        for layer in self.order:
            h = read(layer, h)
        return h, read

    def prompted(self, memory, B):
        """A causal prompt can't depend on the text: one that all B rows share is read once."""
        adapt = memory.adapt
        if B == 1 or not (self.causal and adapt.shared and adapt.before(self.tokens, 1)):
            return memory
        memory = but(memory, keep=True)
        none = np.zeros((1, 0), int)
        self.stream(none, none.astype(bool), memory, types=none)
        return memory.shared(B)


def checked(ids, mask, vocabulary, adapt=PLAIN):
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
    adapt = adapt or PLAIN
    adapt.serves(len(ids))
    known = vocabulary + adapt.pseudo(len(ids))
    if len(stray := np.argwhere((ids < 0) | (ids >= known))):
        row, t = stray[0]
        more = np.broadcast_to(known, (len(ids), 1))[row, 0] - vocabulary
        own = f" and its {more} pseudo-tokens" if more else ""
        raise ValueError(
            f"token id {ids[row, t]} is outside the vocabulary of {vocabulary}{own}, row {row}"
        )
    mask = np.ones(ids.shape, bool) if mask is None else np.asarray(mask).astype(bool)
    if mask.shape != ids.shape:
        raise ValueError(f"mask {mask.shape} must have the shape of ids {ids.shape}")
    return ids, mask


def typed(types, shape, known):
    """Token types (B, T), as an array on the host; an error for what the network does not know."""
    if types is None:
        return np.zeros(shape, int)
    types = np.asarray(types)
    if not known:
        raise ValueError("this model knows no token types: leave types= out")
    if (
        types.shape != shape
        or types.dtype.kind not in "iu"
        or not ((0 <= types) & (types < known)).all()
    ):
        raise ValueError(f"types must have the shape of ids {shape} and be from 0 to {known - 1}")
    return types


def labelled(labels, real, classes):
    """Labels (B, T), -100 at padding, and which tokens are real; an error for what is no class."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or ((labels < 0) & (labels != -100)).any():
        raise ValueError("labels are whole numbers, or -100 where there is none")
    real = np.ones(labels.shape, bool) if real is None else np.asarray(real).astype(bool)
    if labels.shape != real.shape or labels.ndim != 2 or labels.max(initial=-100) >= classes:
        raise ValueError(
            f"labels must have the shape of ids {real.shape} and be -100 or from 0 to "
            f"{classes - 1}; got {labels.shape}, the largest {labels.max(initial=-100)}"
        )
    return np.where(real, labels, -100), real


def asked(target, front=0):
    """The columns (B, R) that carry a label, and `target` there; all, if that spares no tenth.

    front: so many of them stand before the text's, whose first is column 0.
    """
    R = max(1, (target >= 0).sum(1).max())
    if R >= 0.9 * target.shape[1]:
        return None, target
    rows = np.sort(np.argsort(target < 0, axis=1, kind="stable")[:, :R], axis=1)
    return rows - front, np.take_along_axis(target, rows, 1)


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
        ids, mask = checked(ids, mask, self.config.vocabulary, adapt)
        shown = (adapt or PLAIN).shown(mask)
        front = shown.shape[1] - mask.shape[1]
        labels = np.pad(labels, ((0, 0), (front, 0)), constant_values=-100) if front else labels
        rows, target = asked(self.targets(labels, shown), front)
        z = self(ids, adapt, mask, rng=rng, rows=rows)
        return cross_entropy(z, target, count or max(1, (target >= 0).sum()))

    def targets(self, labels, mask=None):
        """What each token (B, T) is to predict: the next real one's label; -100 where nothing."""
        labels, real = labelled(labels, mask, self.config.vocabulary)
        row, at = np.nonzero(real)  # the real tokens, in the order in which they are read
        follows = row[1:] == row[:-1]
        target = np.full(labels.shape, -100)
        target[row[:-1][follows], at[:-1][follows]] = labels[row[1:][follows], at[1:][follows]]
        return target
