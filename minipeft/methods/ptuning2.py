"""P-tuning v2: Liu et al. 2021, "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning"."""

from dataclasses import dataclass

from ..ops import dropout
from .prefix import PrefixTuning


@dataclass
class PTuningV2(PrefixTuning):
    """Attn(Q, [P_key; K], [P_value; V])        keys, values of words        Liu et al. 2021, §3.2

    A prefix in every layer, dropped out in training, and a head beside it in place of a verbaliser:
    Chain(PTuningV2(), Probe()) of a Classifier or a TokenClassifier.  With an MLP (§3.3: it helps
    some tasks and hurts others) it is Encoded(PTuningV2()).
    """

    dropout: float = 0.1  # of the rows of the prefix, for each text its own

    def before(self, layer, B):
        found = super().before(layer, B)
        if not found or not self.rng:
            return found
        rows, real = found
        return [dropout(r, p=self.dropout, rng=self.rng) for r in rows], real
