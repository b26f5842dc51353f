"""Prompts at the input of every block: each block reads rows of its own in front of the text."""

from dataclasses import dataclass

from ..ops import reshape
from ..reading import Look
from .prefix import PrefixTuning


@dataclass
class DeepPrompt(PrefixTuning):
    """block_l([S_l; H])        states of words        000; follows from Li & Liang 2021, §4

    What a block makes of its rows S_l is thrown away, so only their keys and values count:
    P_key = W_k LN(S_l) + b_k,  P_value = W_v LN(S_l) + b_v.  That is a prefix, but of half the
    numbers, and one that W and LN can make; those of PrefixTuning are free.  W, b and LN are the
    frozen network's, also in a Chain with what changes them.
    """

    rate = 3e-2

    def start(self, layer, rng):
        return [rng.normal(0, 0.5, (self.length, layer.k.shape[0]))]

    def begin(self, model, words):
        """Start as these words (1, k): what each block reads of them."""
        look = Look()
        model.states(words, look.attach(model, None))
        before = {f"blocks.{n}.attn": x for n, x in enumerate(look.seen)}
        for path, (S,) in self.at.items():
            S.data = before[path][0].copy()

    def past(self, layer, S):
        x = layer.norm(reshape(S, (-1, *S.shape[-2:])))
        return layer.positions.front(layer.k(x)), layer.v(x)
