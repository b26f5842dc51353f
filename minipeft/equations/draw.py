"""What an entry is drawn from, and how it looks at the library: in columns, as the papers do."""

import re
from types import SimpleNamespace

import numpy as np

from ..adaptation.adaptation import Adaptation, parameter
from ..adaptation.chain import Chain
from ..adaptation.method import PLAIN
from ..autograd.nn import Module
from ..autograd.tensor import Tensor
from ..model.config import Config
from ..model.transformer import Decoder


class Draw:
    """Sizes, arrays and networks, all from one generator, in float64 and of order one."""

    V = 13  # words

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def size(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def array(self, *shape, std=0.5):
        return self.rng.normal(0, std, shape)

    def words(self, least=1, most=6):
        """A text without repetitions."""
        return self.rng.permutation(self.V)[: self.size(least, most)]

    def model(self, zero="(?!)", kind=Decoder, make=Config, **config):
        """A network, its biases and gains drawn too; parameters that match `zero` are 0."""
        heads = self.size(1, 3)
        known = {"vocabulary": self.V, "width": 4 * heads, "heads": heads, "length": 24}
        model = kind(make(**known | {"layers": self.size(1, 3)} | config), self.rng)
        empty = {id(t) for name, t in model.named_parameters() if re.search(zero, name)}
        drawn = lambda t: t.data + self.array(*t.shape, std=model.config.width**-0.5)
        return model.map(lambda t: Tensor(drawn(t) * (id(t) not in empty)))

    def attached(self, method, model):
        """The method beside the model, its parameters drawn too."""
        return method.attach(model, self.rng).map(lambda p: parameter(self.array(*p.shape)))

    def case(self, method, least=1, **config):
        """A model, its arrays as columns, a text, and the method beside it."""
        model = self.model(**config)
        return model, columns(model), self.words(least), self.attached(method, model)

    def padded(self, texts):
        """Texts of any length as one batch, with padding anywhere: ids, and a mask."""
        shape = len(texts), max(map(len, texts)) + 1
        ids, mask = self.rng.integers(0, self.V, shape), np.zeros(shape, bool)
        for row, text in enumerate(texts):
            mask[row, self.rng.permutation(shape[1])[: len(text)]] = True
            ids[row, mask[row]] = text
        return ids, mask


def columns(part):
    """Rows as columns: the arrays of a network or of an adaptation as the papers write them."""
    if isinstance(part, Tensor):
        return part.data.swapaxes(-1, -2).copy() if part.ndim > 1 else part.data[:, None].copy()
    if isinstance(part, Adaptation):
        return [columns(added) for added in part.at.values()]
    if isinstance(part, list):
        return [columns(p) for p in part]
    if isinstance(part, Module):
        return SimpleNamespace(**{name: columns(p) for name, p in vars(part).items()})
    return part


def logits(model, words, γ=PLAIN, **options):
    """What the library says of one text: (V, L)."""
    return columns(model(np.asarray(words)[None], γ, **options))[0]


class Recorder(Adaptation):
    """Every layer as it is; what went in and what came out is remembered."""

    def __init__(self):
        self.at, self.seen = {}, {}

    def adapts(self, path):
        return True

    def __call__(self, layer, x):
        y = layer(x)
        if isinstance(x, Tensor):
            self.seen[layer.path] = columns(x)[0], columns(y)[0]
        return y


def watch(model, words, γ=PLAIN):
    """Input and output, in columns, of every layer while the library reads one text."""
    look = Recorder()
    model(np.asarray(words)[None], Chain(γ, look))
    return look.seen


class OneHot(Recorder):
    """The value of word j is e_j in each head of 4 rows: what a head yields is how it attends."""

    def __call__(self, layer, x):
        y = layer(x)
        if not layer.path.endswith("attn.v"):
            return y
        _, L, D = y.shape
        return Tensor(np.tile(np.eye(L, 4), D // 4)[None])


def weights(model, words, γ=PLAIN):
    """How each head of the first layer attends to at most 4 words: (H, L, L), in columns."""
    heads = watch(model, words, Chain(γ, OneHot()))["blocks.0.attn.o"][0]
    return heads.reshape(-1, 4, len(words))[:, : len(words)]


def one_head(*matrices):
    """(d, L) -> (1, 1, 1, L, d): a text, a head, as `ops.attention` reads them."""
    return [parameter(X.T[None, None, None].copy()) for X in matrices]


def head_columns(y):
    """The way back."""
    return columns(y)[0, 0, 0]


def flat(arrays):
    """All their numbers in one row."""
    return np.concatenate([np.ravel(a.data if isinstance(a, Tensor) else a) for a in arrays])
