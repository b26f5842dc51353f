"""Random draws for the equations, and views of the library's arrays as columns.

V vocabulary   L tokens   H heads   D width
"""

import re
from types import SimpleNamespace

import numpy as np

from ..adaptation.adaptation import Adaptation, parameter
from ..adaptation.chain import Chain
from ..adaptation.method import PLAIN, Method
from ..autograd.nn import Module
from ..autograd.tensor import Tensor
from ..model.config import Config
from ..model.transformer import Decoder


class Draw:
    """Random sizes, arrays and networks from one generator, in float64."""

    V = 13  # vocabulary

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def size(self, low, high):
        """Return a random integer from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def array(self, *shape, std=0.5):
        """Return a normal array."""
        return self.rng.normal(0, std, shape)

    def words(self, shortest=1, longest=6):
        """Return the token ids of a text without repetitions."""
        return self.rng.permutation(self.V)[: self.size(shortest, longest)]

    def model(self, zero="(?!)", kind=Decoder, make=Config, **config):
        """Return a network with random parameters; those whose paths match `zero` are 0."""
        heads = self.size(1, 3)
        defaults = {"vocabulary": self.V, "width": 4 * heads, "heads": heads, "length": 24}
        model = kind(make(**defaults | {"layers": self.size(1, 3)} | config), self.rng)
        zeros = {id(t) for name, t in model.named_parameters() if re.search(zero, name)}
        random = lambda t: t.data + self.array(*t.shape, std=model.config.width**-0.5)
        return model.map(lambda t: Tensor(random(t) * (id(t) not in zeros)))

    def adaptation(self, method, model):
        """Return the method attached to the model, with random parameters."""
        return method.attach(model, self.rng).map(lambda p: parameter(self.array(*p.shape)))

    def case(self, method, shortest=1, **config):
        """Return a model, its parameters as columns, a text, and the method attached to it."""
        model = self.model(**config)
        return model, columns(model), self.words(shortest), self.adaptation(method, model)

    def padded(self, texts):
        """Return ids and mask of one batch of texts, with padding at random places."""
        shape = len(texts), max(map(len, texts)) + 1
        ids, mask = self.rng.integers(0, self.V, shape), np.zeros(shape, bool)
        for row, text in enumerate(texts):
            mask[row, self.rng.permutation(shape[1])[: len(text)]] = True
            ids[row, mask[row]] = text
        return ids, mask


def columns(part):
    """Return the arrays of a tensor, a network or an adaptation, transposed as in the papers.

    Of an adaptation it is a list for each layer, of its parameters in the order of `start`.
    """
    if isinstance(part, Tensor):
        return part.data.swapaxes(-1, -2).copy() if part.ndim > 1 else part.data[:, None].copy()
    if isinstance(part, Adaptation):
        return [[columns(p) for p in parameters.values()] for parameters in part.at.values()]
    if isinstance(part, list):
        return [columns(p) for p in part]
    if isinstance(part, Module):
        return SimpleNamespace(**{name: columns(p) for name, p in vars(part).items()})
    return part


def logits(model, words, γ=PLAIN, **options):
    """Return the library's logits (V, L) of one text."""
    return columns(model(np.asarray(words)[None], γ, **options))[0]


class Watch(Method):
    """Change nothing, and keep the input and the output of every layer, as columns, in `layers`."""

    targets = ""

    def __init__(self):
        self.layers = {}  # path -> (x, y)

    def apply(self, layer, x):
        y = layer(x)
        if isinstance(x, Tensor):
            self.layers[layer.path] = columns(x)[0], columns(y)[0]
        return y


def watch(model, words, γ=PLAIN):
    """Return {path: (input, output)}, in columns, of every layer when the library reads a text."""
    watcher = Watch()
    model(np.asarray(words)[None], Chain(γ, watcher.attach(model)))
    return watcher.layers


class OneHotValues(Method):
    """Make the value of token j one-hot, e_j, in each head: heads then return attention weights.

    A head has 4 rows, so that a text has at most 4 tokens.
    """

    targets = r"attn\.v$"

    def apply(self, layer, x):
        _, L, D = layer(x).shape
        return Tensor(np.tile(np.eye(L, 4), D // 4)[None])


def attention_weights(model, words, γ=PLAIN):
    """Return the attention weights (H, L, L), in columns, of the first layer; L is at most 4."""
    one_hot = Chain(γ, OneHotValues().attach(model))
    heads = watch(model, words, one_hot)["blocks.0.attn.o"][0]
    return heads.reshape(-1, 4, len(words))[:, : len(words)]


def as_one_head(*matrices):
    """Return matrices (d, L) as tensors (1, 1, 1, L, d): one text and one head of `attention`."""
    return [parameter(X.T[None, None, None].copy()) for X in matrices]


def head_columns(y):
    """Return the matrix (d, L) of a tensor (1, 1, 1, L, d)."""
    return columns(y)[0, 0, 0]


def flat(arrays):
    """Return all numbers of arrays or tensors as one vector."""
    return np.concatenate([np.ravel(a.data if isinstance(a, Tensor) else a) for a in arrays])
