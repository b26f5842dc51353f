"""Soft prompts anywhere in a text: their rows are words of their own, pseudo-tokens."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation
from ..ops import concat, lookup, stretch
from ..template import Template
from .prompt import start


@dataclass
class PseudoTokens(Adaptation):
    """{h_0, …, h_i, e(x), h_{i+1}, …, h_m}        embeddings of words        Liu et al. 2021, eq. 2

    Pseudo-token i is the id V + i, anywhere in a text and any number of times; every other id is
    the word it is, also one that the template has fixed, an anchor.  `template` says where they
    usually stand: before or after a text, after its first word, between two texts, …
    """

    template: str = "[P]*10 {x}"  # see Template
    init: str = "vocabulary"  # vocabulary, uniform, text or labels: as of PromptTuning
    words: tuple = ()  # token ids, for text and labels
    frequent: int = 5000  # random words are drawn from so many, the first and most frequent
    targets: str = r"^tokens$"  # which layers, by path: a regular expression

    rate = 3e-2

    def __post_init__(self):
        super().__post_init__()
        self.length = Template(self.template).length
        if not self.length:
            raise ValueError(f"template={self.template!r} has no pseudo-token, [P]")

    def pseudo(self, B):
        return self.length

    def outermost(self, path):
        return path in self.at

    def start(self, layer, rng):
        return [start(self, layer.W.data, rng)]

    def apply(self, layer, ids, h):
        V, (B, T) = layer.shape[0], ids.shape
        rows = concat(layer(ids), stretch(h, (B, *h.shape[-2:])), axis=1)
        return lookup(rows, np.where(ids < V, np.arange(T), T + ids - V))  # never summed
