"""PEFT's forward pass where it is a fault: prompts are a part of the text.  A sketch.

Nothing of it is in the core: a prompt becomes pseudo-tokens in front of the ids, every column has a
position (`position_ids=`), and the loss is of every column, padding too.
"""

import numpy as np

from ...adaptation.chain import Chain
from ...autograd.functional import cross_entropy
from ...autograd.nn import replace
from ...autograd.ops import lookup, matmul
from ...methods import PromptTuning, PseudoTokens
from ...model.heads import pooling


def as_peft(γ):
    """Return γ as PEFT reads it, and the length of its prompt: its rows are tokens of the text."""
    parts = [replace(m) for m in γ.leaves()]
    prompts = [i for i, m in enumerate(parts) if isinstance(m.method, PromptTuning)]
    for i in prompts:
        P = parts[i].method.prepend(None, **parts[i].at["tokens"])[0]
        n = P.shape[-2]
        parts[i] = replace(parts[i], method=PseudoTokens(f"[P]*{n} {{x}}"), at={"tokens": {"h": P}})
    return Chain(*parts), n if prompts else 0


class PeftModel:
    """A model with an adaptation as PEFT computes it: logits also of the prompt's rows."""

    def __init__(self, model, γ):
        self.model, (self.γ, self.P) = model, as_peft(γ)

    def states(self, ids, mask=None):
        V, (B, T), P = self.model.config.vocabulary, np.shape(ids), self.P
        mask = np.ones((B, T), bool) if mask is None else np.asarray(mask, bool)
        ids = np.hstack([np.tile(np.arange(V, V + P), (B, 1)), ids])
        mask = np.hstack([np.ones((B, P), bool), mask])
        at = np.tile(np.arange(P + T), (B, 1)) if P else None
        return self.model.states(ids, self.γ, mask=mask, position_ids=at)

    def __call__(self, ids, mask=None):
        """Logits (B, P + T, V), or (B, C) of a classifier, which pools padding, too."""
        h, read = self.states(ids, mask)
        if not hasattr(self.model, "pool"):
            return read(self.model.head, h)
        seen = np.ones(h.shape[:2], bool)
        if not self.P and self.model.causal and mask is not None:
            seen = np.asarray(mask, bool)  # it looks for the last that is no padding
        rows, weights = pooling(self.model.pool, seen)
        pooled = matmul(weights.astype(h.dtype), lookup(h, rows))
        return self.model.logits(self.model.pooler.pooled(pooled, read), read)

    def loss(self, ids, labels, mask=None):
        """Mean cross-entropy of every column that has a label, padding or not."""
        z, labels = self(ids, mask), np.asarray(labels)
        if z.ndim == 3:
            labels = np.pad(labels, ((0, 0), (self.P, 0)), constant_values=-100)
            labels = np.pad(labels[:, 1:], ((0, 0), (0, 1)), constant_values=-100)
        return cross_entropy(z, labels, max(1, (labels >= 0).sum()))
