"""KV cache: the adaptation of a text, and the keys and values computed so far."""

from typing import Any

import numpy as np

from ..autograd.nn import replace
from ..autograd.ops import broadcast_to, take
from .adaptation import Adaptation, Front
from .method import as_adaptation


class Cache:
    """KV cache of texts: `model(ids[:, :5], cache=c)`, then `model(ids[:, 5:], cache=c)`.

    adaptation: the adaptation, or None; it is resolved once, for all forward passes.
    rng: the generator of dropout, if there is to be any.  keep: whether keys and values are kept.
    """

    def __init__(self, adaptation: Adaptation | None = None, rng=None, keep: bool = True):
        self.adaptation, self.keep = as_adaptation(adaptation).resolve(rng), keep
        self.kv = {}  # path of an attention -> Front([k, v], which rows are real)
        self.real: Any = None  # (B, S): of the rows so far, prompt first, which are not padding
        self.shift: Any = None  # (B,): by how many positions prefixes move the text
        self.position_ids: Any = None  # (B, S): those that were given, if they were

    def of(self, rows) -> "Cache":
        """Return the cache of these rows of the batch, as beam search needs it."""
        kv = {
            path: Front([take(x, rows) for x in front.rows], front.real[rows], None)
            for path, front in self.kv.items()
        }
        return replace(
            self,
            adaptation=self.adaptation.of(rows),
            kv=kv,
            real=self.real[rows],
            shift=self.shift[rows],
            position_ids=None if self.position_ids is None else self.position_ids[rows],
        )

    def repeat(self, B: int) -> "Cache":
        """Return the cache of a batch of B rows, from that of one row."""
        many = lambda x: np.repeat(x, B, axis=0)
        kv = {
            path: Front(
                [broadcast_to(x, (B, *x.shape[1:])) for x in front.rows], many(front.real), None
            )
            for path, front in self.kv.items()
        }
        return replace(self, kv=kv, real=many(self.real), shift=many(self.shift), keep=False)
