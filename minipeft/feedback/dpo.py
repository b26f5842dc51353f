"""DPO: a policy learns from ranked answers, without a reward model or sampling.

B prompts   K answers to each   T tokens
"""

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import as_adaptation
from ..autograd.functional import log_probability
from ..autograd.ops import reshape, sum
from ..autograd.tensor import Tensor, no_grad
from ..model.inputs import each_answer
from ..model.transformer import Decoder
from .ranking import Ranked
from .rollout import check_reference


class DPO(Ranked, Decoder):
    """r(x, y) = β log(π(y|x) / π_ref(y|x)) + β log Z(x)        Rafailov et al. 2023, eq. 5

    The policy that maximises E[r] - β KL(π ‖ π_ref) is π* ∝ π_ref exp(r / β).  So each policy is
    the best one for the r above, and the loss of a reward model trains it; log Z(x) cancels in the
    differences.  π_ref is the frozen model, without the adaptation.

    The loss depends on the difference of two r only, so log π of the chosen answer may fall, as
    long as that of the rejected one falls more.  It often does: the two share many tokens, and the
    gradient on the rejected answer lowers them.  The probability goes to answers outside the pair.
    In examples/13_preferences.py it falls from -20 to -24, and that of the rejected answer to -27,
    means of new prompts; in a language that the model has not learned yet, both may rise.  This is
    no error of the code; look at the difference, or add the loss of the chosen one.
    """

    def __init__(self, model: Decoder, beta: float = 0.1, margin: float = 0.0):
        if not isinstance(model, Decoder):
            raise TypeError(f"DPO(model, beta) needs a Decoder, not a {type(model).__name__}")
        if not 0 < beta < np.inf:
            raise ValueError(f"beta={beta!r} must be greater than 0, and finite")
        vars(self).update(vars(model))
        self.beta, self.margin = beta, margin

    def scores(self, ids, adaptation: Adaptation | None = None, *, mask=None, rng=None):
        """Return r (B, K) of texts ids (B, K, T), prompts with their answers.

        The tokens that all answers to a prompt begin with, and the prompt, have the same part in
        each r, and are left out.
        """
        check_reference(adaptation := as_adaptation(adaptation))
        log_p = self.answer_log_p(ids, adaptation, mask=mask, rng=rng)
        with no_grad():
            log_ref = self.answer_log_p(ids, mask=mask)
        return (log_p - log_ref.data) * self.beta

    def answer_log_p(self, ids, adaptation=None, *, mask=None, rng=None) -> Tensor:
        """Return log π (B, K) of texts ids (B, K, T), without the tokens that all begin with."""
        texts, mask, adaptation = each_answer(ids, mask, adaptation)
        (B, K, T), real = np.shape(ids), mask != 0
        tokens = np.where(real, texts, -1).reshape(B, K, T)
        shared = np.logical_and.accumulate((tokens == tokens[:, :1]).all(1), axis=1)  # (B, T)
        labels = np.where(np.repeat(shared, K, axis=0), -100, texts)
        targets = Decoder.targets(self, labels, mask)
        z, targets = self.labelled_logits(texts, targets, adaptation, mask=mask, rng=rng)
        return reshape(sum(log_probability(z, targets), axis=1), (B, K))
