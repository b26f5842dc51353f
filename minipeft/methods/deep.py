"""Prompts at the input of every block: each block reads rows of its own in front of the text."""

from dataclasses import dataclass

from ..adapt import Adaptation
from ..ops import reshape


@dataclass
class DeepPrompt(Adaptation):
    """block_l([S_l; H])        random        000; Lester et al.'s per-layer prompts

    What a block makes of its rows S_l is thrown away, so only their keys and values count:
    P_key = W_k LN(S_l) + b_k,  P_value = W_v LN(S_l) + b_v.  That is a prefix, of half the numbers
    and of what the layer can say; PrefixTuning's P_key and P_value are free.
    """

    length: int = 10  # rows of S in each layer
    targets: str = r"attn$"  # which layers, by path: a regular expression
    shift_positions: bool = True  # the text's positions start after them

    rate = 3e-2

    def start(self, layer, rng):
        return [rng.normal(0, 0.5, (self.length, layer.k.shape[0]))]

    def past(self, layer, S):
        x = layer.norm(reshape(S, (-1, *S.shape[-2:])))
        return layer.positions.front(layer.k(x)), layer.v(x)
