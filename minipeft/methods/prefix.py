"""Prefix tuning: Li & Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation"."""

from dataclasses import dataclass

import numpy as np

from ..adapt import Adaptation
from ..reading import Memory
from ..tensor import no_grad


@dataclass
class PrefixTuning(Adaptation):
    """Attn(Q, [P_key; K], [P_value; V])        keys and values of words        Li & Liang 2021, §4

    So 003 §11.2.3.3 writes it.  It starts as the keys and values of real words (§7.4), and so
    equals them in the context: of `words`, token ids, or, init="vocabulary", of random ones.
    init="normal": N(0, 0.02).  Reparametrised, P = MLP(E), it is Encoded(PrefixTuning(...)).
    """

    length: int = 10  # rows of P_key and of P_value in each layer
    init: str = "vocabulary"  # vocabulary or normal
    words: tuple = ()  # token ids to start from
    targets: str = r"attn$"  # which layers, by path: a regular expression
    shift_positions: bool = True  # the text's positions start after it: GPT-2's authors and PEFT

    rate = 5e-2

    def start(self, layer, rng):
        return rng.normal(0, 0.02, (2, self.length, layer.k.W.shape[1]))

    def attach(self, model, rng):
        if self.init not in ("vocabulary", "normal"):
            raise ValueError(f"init={self.init!r}: there is vocabulary, normal; or words=")
        words = self.words
        if not words and self.init == "vocabulary":
            words = rng.integers(0, model.config.vocabulary, self.length)
        self.length, most = len(words) or self.length, model.config.length
        if len(words) > most:
            raise ValueError(
                f"{type(self).__name__}: a prefix of {self.length} starts from the keys and values "
                f"of as many words, and the model reads {most} at most: shorten it, or "
                "init='normal'"
            )
        super().attach(model, rng)
        if len(words):
            with no_grad():
                self.begin(model, np.array([words]))
        return self

    def begin(self, model, words):
        """Start as these words (1, k): their keys and values."""
        memory = Memory()
        model.states(words, memory=memory)
        for path, (P_k, P_v) in self.at.items():
            (k, v), _ = memory.kv[path]
            P_k.data, P_v.data = k.data[0].copy(), v.data[0].copy()

    def past(self, layer, P_k, P_v):
        return P_k, P_v
