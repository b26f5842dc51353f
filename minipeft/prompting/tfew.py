"""T-Few: a right answer becomes likely, and wrong ones unlikely.

B prompts   K answers to each, the right one first   T tokens   R tokens of an answer
real (B, K, R): True at the tokens of the answers
"""

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..autograd.functional import log_probability
from ..autograd.nn import Module
from ..autograd.ops import exp, index, log, reshape, sum
from ..autograd.tensor import Tensor
from ..model.inputs import each_answer
from ..model.transformer import LanguageModel


def normalized_log_p(log_p: Tensor, real) -> Tensor:
    """β = 1/T Σ_t log p(y_t | x, y_<t), (B, K), for log_p (B, K, R)        Liu et al. 2022, §3.2"""
    return sum(log_p * weights(log_p, real, real.sum(-1, keepdims=True)), axis=-1)


def likelihood_loss(log_p: Tensor, real) -> Tensor:
    """-1/T Σ_t log p(y_t | x, y_<t) of the right answer, (B,)        Liu et al. 2022, §3.2"""
    return -index(normalized_log_p(log_p, real), (slice(None), 0))


def unlikelihood_loss(log_p: Tensor, real, epsilon: float = 1e-2) -> Tensor:
    """-Σ_n Σ_t log(1 - p(ŷ_t | x, ŷ_<t) + ε) / Σ_n T_n of wrong answers ŷⁿ, (B,)

    Liu et al. 2022, §3.2; ε, which the paper lacks, is 0.01 in its code.
    """
    wrong = real & (np.arange(real.shape[1]) > 0)[:, None]
    w = weights(log_p, wrong, wrong.sum((1, 2), keepdims=True))
    (B, K, R), p = log_p.shape, exp(log_p) * weights(log_p, wrong)
    return -sum(reshape(log(1 + epsilon - p) * w, (B, K * R)), axis=-1)


def length_normalized_loss(log_p: Tensor, real) -> Tensor:
    """-log(exp β(x, y) / Σ_k exp β(x, y_k)), (B,)        Liu et al. 2022, §3.2"""
    β = normalized_log_p(log_p, real)
    return -log_probability(β, np.zeros(β.shape[0], int))


def weights(log_p: Tensor, real, count=1) -> np.ndarray:
    """Return 1 / count at the tokens and 0 elsewhere, as an array like log_p."""
    return np.asarray(real / count, log_p.dtype, like=log_p.data)


class TFew(Module):
    """L = L_LM + L_UL + L_LN, the mean over prompts        Liu et al. 2022, §3.2

    `loss(ids, labels, γ, mask=mask)` is of prompts with K answers each, the right one first.
    ids, mask (B, K, T) and labels (B, K, T), or (B, K, R) for an encoder–decoder, have each answer
    as a row for the loss of the model, which has labels at the answer alone.

    The code of the paper takes the means of L_LM and L_UL over the tokens of a batch, this network
    those of each prompt: they differ if prompts of a batch have answers of different lengths.
    """

    def __init__(self, model: LanguageModel):
        if not isinstance(model, LanguageModel):
            raise TypeError(f"TFew(model) needs a language model, not a {type(model).__name__}")
        vars(self).update(vars(model))
        self.model = model

    def targets(self, labels, mask=None) -> np.ndarray:
        """Return the id that each token predicts, or -100, and the weight of its prompt, 1/B.

        Both are in one array (B, 2, K, T).  Raises ValueError for an answer without a label.
        """
        labels = np.asarray(labels)
        if labels.ndim != 3:
            raise ValueError(f"labels must be (prompts, answers, tokens); got {labels.shape}")
        B, K, T = labels.shape
        mask = None if mask is None else np.reshape(mask, (B * K, -1))
        targets = self.model.targets(labels.reshape(B * K, T), mask).reshape(B, K, T)
        if not (targets >= 0).any(-1).all():
            b, k = np.argwhere(~(targets >= 0).any(-1))[0]
            raise ValueError(f"answer {k} to prompt {b} has no labels: give it at least one token")
        return np.stack([targets, np.full(targets.shape, 1 / B)], 1)

    def loss(self, ids, labels, adaptation: Adaptation | None = None, *, mask=None, rng=None):
        """Return the loss, a scalar; see the class."""
        return self.loss_at(ids, self.targets(labels, mask), adaptation, mask=mask, rng=rng)

    def loss_at(self, ids, targets, /, adaptation=None, *, mask=None, rng=None, count=None, **_):
        """Return the loss for targets (B, 2, K, T), which `targets` returned for the labels."""
        log_p, real = self.answer_log_p(ids, targets[:, 0].astype(int), adaptation, mask, rng)
        losses = likelihood_loss, unlikelihood_loss, length_normalized_loss
        first, *rest = (loss(log_p, real) for loss in losses)
        for loss in rest:
            first = first + loss
        return sum(first * weights(log_p, targets[:, 1, 0, 0]))

    def answer_log_p(self, ids, targets, adaptation, mask, rng=None) -> tuple[Tensor, np.ndarray]:
        """Return log p (B, K, R) of the tokens of the answers, and where they are real."""
        texts, real, adaptation = each_answer(ids, mask, adaptation)
        B, K = targets.shape[:2]
        targets = targets.reshape(B * K, -1)
        z, targets = self.model.labelled_logits(texts, targets, adaptation, mask=real, rng=rng)
        shape = B, K, targets.shape[1]
        return reshape(log_probability(z, targets), shape), targets.reshape(shape) >= 0
