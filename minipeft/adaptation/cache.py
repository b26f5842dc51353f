"""KV cache: the keys and values of the tokens so far, and the adaptation that they depend on."""

from typing import Any

import numpy as np

from ..autograd.nn import replace
from ..autograd.ops import broadcast_to, take
from .adaptation import Adaptation, Front
from .method import as_adaptation


class Cache:
    """KV cache of texts: `model(ids[:, :5], cache=c)`, then `model(ids[:, 5:], cache=c)`.

    adaptation: an adaptation, or None; it is resolved once, for all forward passes.
    rng: the generator of dropout; None: no dropout.
    keep: whether keys and values are kept; False for a single forward pass.
    """

    def __init__(self, adaptation: Adaptation | None = None, rng=None, keep: bool = True):
        self.adaptation, self.keep = as_adaptation(adaptation).resolve(rng), keep
        self.kv = {}  # {path of an attention: Front([k, v], real, None)}
        self.source: Any = None  # Front([h], real, None): hidden states (B, S, D) of an encoder
        self.real: Any = None  # (B, S): False at padding; the rows so far, prompt first
        self.shift: Any = None  # (B,): added to the positions of the text, for prefixes
        self.position_ids: Any = None  # (B, S): those given so far; None: none were given

    def of(self, rows) -> "Cache":
        """Return the cache of these rows of the batch, as in each step of a beam search."""
        pick = lambda front: Front([take(x, rows) for x in front.rows], front.real[rows], None)
        return replace(
            self,
            adaptation=self.adaptation.of(rows),
            kv={path: pick(front) for path, front in self.kv.items()},
            source=self.source and pick(self.source),
            real=self.real[rows],
            shift=self.shift[rows],
            position_ids=None if self.position_ids is None else self.position_ids[rows],
        )

    def fill(self, one: "Cache", B: int) -> None:
        """Set the keys and values of B equal rows: those of `one`, the cache of one row."""
        many = lambda x: np.repeat(x, B, axis=0)
        self.kv = {
            path: Front(
                [broadcast_to(x, (B, *x.shape[1:])) for x in front.rows], many(front.real), None
            )
            for path, front in one.kv.items()
        }
        self.real, self.shift = many(one.real), many(one.shift)
