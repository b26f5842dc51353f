"""PEFT's own behaviour where it is a fault, on request: docs/differences-from-peft.md."""

import numpy as np

from ...adaptation.chain import Chain
from ...autograd.ops import sqrt
from ...autograd.ops import sum as sum_over
from ...autograd.tensor import Tensor
from ...methods import DoRA, PromptTuning
from ...model.heads import Classifier


class DetachedDoRA(DoRA):
    """DoRA whose norm has no gradient        Liu et al. 2024, §4.3"""

    def magnitude(self, layer, A, B, m):
        _, V = super().magnitude(layer, A, B, m)
        return m / Tensor(sqrt(sum_over(V * V, axis=-2)).data), V


class AsPeft(Chain):
    """An adaptation as PEFT reads it: prompts are a part of the text.

    With a prompt every column is a position, padding too, logits are also of the prompt's rows, and
    a classifier may pool one of these.  Losses and heads see padding, as those of transformers do.
    """

    shared = False  # a prompt's rows are shown, for each text its own

    def __init__(self, *methods):
        super().__init__(*[recast(m, DoRA, DetachedDoRA) for m in methods])

    @property
    def plain(self):
        """The same without PEFT's faults: these are no part of a folder."""
        γs = [recast(m, DetachedDoRA, DoRA) for m in self.methods]
        return γs[0] if len(γs) == 1 else Chain(*γs)

    @property
    def prompt(self):
        """How many rows stand before the text's."""
        return sum(m.length for m in self.methods if isinstance(m, PromptTuning))

    def counted(self, real):
        return np.ones_like(real) if self.prompt else real

    def shown(self, real):
        if not self.prompt and self.network is Classifier and self.base.causal:
            return real  # it looks for the last that is no padding
        return np.ones((len(real), self.prompt + real.shape[1]), bool)


def recast(γ, old, new):
    """γ as one of the class `new`, of the same fields, if it is of the class `old`."""
    if type(γ) is not old:
        return γ
    other = object.__new__(new)
    vars(other).update(vars(γ))
    return other
