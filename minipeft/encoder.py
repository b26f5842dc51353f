"""Encoders, which read both ways: BERT, Devlin et al. 2019.

B batch   T tokens   R rows   D width   V vocabulary
"""

from functools import partial

from .adapt import PLAIN
from .nn import Linear, Module, Tied, full
from .ops import cross_entropy, tanh
from .transformer import ACTIVATIONS, NORMS, Config, Stack, asked, checked, labelled

Bert = partial(Config, eps=1e-12, activation="gelu", post=True, causal=False, types=2)


class Pooler(Linear):
    """tanh(W h_CLS + b)"""

    def pooled(self, x, read):
        return tanh(read(self, x))


class Encoder(Stack):
    """The trunk, and the pooler that is trained with it."""

    def __init__(self, config, rng):
        super().__init__(rng, config)
        self.pooler = Pooler(rng, config.width, config.width)
        self.frozen()

    def __call__(self, ids, adapt=PLAIN, mask=None, memory=None, rng=None, rows=None, types=None):
        """States (B, T, D) of ids (B, T); with rows (B, R) (B, R, D).  Arguments as of `states`."""
        return self.states(ids, adapt, mask, memory, rng, rows, types)[0]


class Transform(Module):
    """ln(σ(W h + b)): what stands between a state and the words it is compared with"""

    inner = True

    def __init__(self, rng, c):
        self.dense, self.ln = Linear(rng, c.width, c.width), NORMS[c.norm](c.width, c.eps)
        self.σ = ACTIVATIONS[c.activation]

    def __call__(self, h, read):
        return read(self.ln, self.σ(read(self.dense, h)))


class Words(Tied):
    """z = x Wᵀ + b"""

    def __init__(self, embedding):
        super().__init__(embedding)
        self.b = full(0, len(self.W.data))

    def __call__(self, x):
        return super().__call__(x) + self.b


class MaskedLM(Encoder):
    """A language model of masked words: logits of the word at every row."""

    def __init__(self, config, rng):
        super().__init__(config, rng)
        self.transform = Transform(rng, config)
        self.head = Words(self.tokens)
        self.frozen()

    def words(self, h, read):
        return read(self.head, read(self.transform, h))

    def __call__(self, ids, adapt=PLAIN, mask=None, memory=None, rng=None, rows=None, types=None):
        """Logits (B, T, V) of ids (B, T); with rows (B, R) (B, R, V).  Arguments as of `states`."""
        return self.words(*self.states(ids, adapt, mask, memory, rng, rows, types))

    def loss(self, ids, labels, adapt=PLAIN, mask=None, types=None, rng=None, count=None):
        """Mean of -log p(labels[t] | ids) but for labels of -100; `count` as in Decoder.loss."""
        ids, mask = checked(ids, mask, self.config.vocabulary, adapt)
        rows, target = asked(self.targets(labels, mask))
        z = self(ids, adapt, mask, rng=rng, rows=rows, types=types)
        return cross_entropy(z, target, count or max(1, (target >= 0).sum()))

    def targets(self, labels, mask=None):
        """What each token (B, T) is to say: its own label; -100 where nothing."""
        return labelled(labels, mask, self.config.vocabulary)[0]
