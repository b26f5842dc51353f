"""What the laws of methods are checked on: small networks, texts with padding, random parameters.

B batch   T tokens   V vocabulary   C classes
"""

from functools import cache

import numpy as np

from ..adaptation.adaptation import Adaptation, parameter
from ..adaptation.method import PLAIN, PSEUDO, Method
from ..autograd.backend import host
from ..autograd.nn import Module, replace
from ..autograd.tensor import Tensor, grad
from ..model.bert import BertConfig, MaskedLM
from ..model.config import Config
from ..model.heads import Classifier, Headed, SpanClassifier
from ..model.transformer import Decoder

V, C, T = 13, 3, 7


class Case:
    """A method on a small network.

    promised: by how much the method may change outputs at its start; None: nothing is promised.
    """

    rows = 5  # of a batch

    def __init__(self, method: Method, model: Module, promised: float | None = None):
        self.method, self.model, self.promised = method, model, promised

    def astype(self, dtype) -> "Case":
        """Return the case with the model in another float type."""
        return replace(self, model=self.model.astype(dtype))

    def fresh(self, rng=None) -> Adaptation:
        """Return the adaptation as it starts."""
        return self.method.attach(self.model, rng or np.random.default_rng(0))

    def attached(self, user: int = 0) -> Adaptation:
        """Return the adaptation of a user, with no number where it started."""
        rng = np.random.default_rng([7, user])
        γ = self.fresh(rng)
        moved = {id(p): p.data + 0.3 * rng.normal(size=p.shape) for p in γ.parameters()}
        return γ.map(lambda p: parameter(moved[id(p)].astype(p.dtype)))


def nudged(model: Module) -> Module:
    """Return the network in float64 with no number at 0 or 1, where a mistake would not show."""
    rng = np.random.default_rng(1)
    return model.map(lambda t: Tensor(t.data + 0.3 * rng.normal(size=t.shape)))


@cache
def networks() -> dict[str, Module]:
    """Return {name: network} of small networks, which differ in norms, positions and heads."""
    rng = lambda: np.random.default_rng(0)
    small: dict = dict(vocabulary=V, width=8, layers=2, length=32)
    llama: dict = dict(heads=4, key_heads=2, ffn_width=12, positions="rotary", norm="rms")
    llama |= dict(tied_head=False, activation="silu", gated=True, biases=("q", "k", "v"))
    bert = MaskedLM(BertConfig(**small, heads=2), rng())
    return {
        "GPT-2": nudged(Decoder(Config(**small, heads=2), rng())),
        "Llama": nudged(Decoder(Config(**small, **llama), rng())),
        "BERT": nudged(Classifier(bert, C, pool="cls")),
    }


def batch(model, B: int, adaptation=PLAIN, seed: int = 0):
    """Return texts (B, T), labels and mask, with padding left, right and between the tokens.

    Tokens 1 and 4 are pseudo-tokens, where the adaptation of a row has any.
    """
    rng = np.random.default_rng(seed)
    ids, mask = rng.integers(0, V, (B, T)), np.ones((B, T), bool)
    for i, gap in enumerate(([], [0, 1], [5, 6], [3, 4], [0, 2, 6])):
        mask[i::5, gap] = False
    known, at = np.broadcast_to(adaptation.pseudo_tokens(B), (B, 1)), (1, 4)
    labels = ids % C if isinstance(model, Headed) else ids.copy()
    labels[:, at] = np.where(known, -100, labels[:, at])
    ids[:, at] = np.where(
        known, PSEUDO - (np.arange(2) + ids[:, at]) % np.maximum(1, known), ids[:, at]
    )
    if isinstance(model, Classifier):
        return ids, rng.integers(0, C, B), mask
    if isinstance(model, SpanClassifier):
        return ids, np.array([rng.choice(np.flatnonzero(real), 2) for real in mask]), mask
    return ids, np.where(rng.random((B, T)) < 0.2, -100, labels), mask


def row(i: int, ids, labels, mask):
    """Return text i of a batch alone, without its padding, and its labels."""
    own = labels[i : i + 1]
    if own.shape == (1, 2):  # columns of a span
        own = mask[i].cumsum()[own] - 1
    elif own.ndim == 2:
        own = own[:, mask[i]]
    return ids[i : i + 1, mask[i]], own


def real(z, i: int, mask):
    """Return the logits of row i: of a decoder at its tokens, of a classifier altogether."""
    return host(z.data)[i] if z.ndim == 2 else host(z.data)[i, mask[i]]


def total(model, ids, labels, adaptation, mask=None):
    """Return the loss as a sum over the rows."""
    return model.loss(ids, labels, adaptation, mask=mask, count=1)


def gradients(model, ids, labels, adaptation, mask=None, of=None) -> list:
    """Return the gradients of `total` for all parameters, or those `of` a part."""
    wanted = (of or adaptation).parameters()
    loss = total(model, ids, labels, adaptation, mask=mask)
    if not loss.requires_grad:  # there are no parameters, or a method does not use them as tensors
        return [np.zeros(p.shape, p.dtype) for p in wanted]
    return [host(g) for g in grad(loss, wanted)]


def apart(xs, ys) -> float:
    """Return the largest difference of two lists of arrays, relative to the largest of ys."""
    size = max((np.abs(y).max() for y in ys), default=1) or 1
    far = [host(np.abs(x - y).max() / size) for x, y in zip(xs, ys, strict=True)]
    return np.max(far, initial=0)  # NaN, if there is one
