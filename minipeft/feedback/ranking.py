"""Learning from ranked answers: reward models, and DPO.

B prompts   K answers to each   N texts   T tokens   D width
"""

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..autograd.functional import cross_entropy
from ..autograd.nn import Module
from ..autograd.ops import reshape
from ..autograd.tensor import Tensor
from ..model.heads import Classifier, TokenClassifier
from ..model.inputs import check_targets, each_answer
from .losses import pairwise_loss
from .rollout import compute


class Ranked(Module):
    """Loss of the scores that a network gives to K ranked answers        Ouyang et al. 2022, eq. 1

    `loss(ids, ranks, γ, mask=mask)` is the mean over prompts of the mean over pairs (w, l) of
    -log σ(r_w - r_l).  ids, mask (B, K, T): each prompt with each of its answers.
    ranks (B, K): any numbers, higher is better; two equal ones are a tie, which is no pair.

    All pairs of answers to one prompt are in one batch, and each answer is read once: K forward
    passes for K (K - 1) / 2 pairs.  Pairs shuffled over batches would use each answer in K - 1
    updates an epoch, and the model would overfit.
    """

    margin: float

    def scores(self, ids, adaptation: Adaptation | None = None, *, mask=None, rng=None) -> Tensor:
        """Return the scores (B, K) of texts ids (B, K, T)."""
        raise NotImplementedError

    def targets(self, labels, mask=None):
        """Return the weight and the difference in rank of each pair, (B, 2, K, K), for ranks.

        Raises ValueError for ranks that are no finite numbers (B, K), and if all are ties.
        """
        ranks = np.asarray(labels, float)
        if ranks.ndim != 2 or not np.isfinite(ranks).all():
            raise ValueError(f"ranks must be finite numbers, (prompts, answers); got {labels!r}")
        Δ = ranks[:, :, None] - ranks[:, None]
        pairs = (Δ > 0).sum((1, 2), keepdims=True)
        if not pairs.any():
            raise ValueError(
                "all answers to each prompt have equal ranks: there is nothing to learn"
            )
        return np.stack([(Δ > 0) / np.maximum(pairs, 1) / (pairs > 0).sum(), Δ], 1)

    def loss_at(self, ids, targets, /, adaptation=None, *, mask=None, rng=None, count=None, **_):
        """Return the loss for targets (B, 2, K, K), which `targets` returned for the ranks."""
        r = self.scores(ids, adaptation, mask=mask, rng=rng)
        check_targets(targets[:, 0, 0], r.shape)
        return pairwise_loss(r, targets[:, 0], self.margin * targets[:, 1])


class RewardModel(Ranked, Classifier):
    """r(x, y) = w · h_last + b        Ouyang et al. 2022, §3.5

    h_last is the hidden state of the last token of a prompt x with an answer y.  The trunk is
    frozen: an adaptation with a probe is trained, Chain(LoRA(), Probe()).attach(model, rng).
    margin: a pair of ranks s_i > s_j should differ by margin (s_i - s_j).
    """

    def __init__(self, trunk, margin: float = 0.0):
        super().__init__(trunk, 1, "last", bias=True)
        self.margin = margin

    def __call__(self, ids, adaptation: Adaptation | None = None, **options) -> Tensor:
        """Return the scores (N,) of texts ids (N, T); see `Transformer.states`."""
        r = super().__call__(ids, adaptation, **options)
        return reshape(r, (r.shape[0],))

    def scores(self, ids, adaptation=None, *, mask=None, rng=None):
        texts, real, adaptation = each_answer(ids, mask, adaptation)
        return reshape(self(texts, adaptation, mask=real, rng=rng), np.shape(ids)[:2])


class BestOf(RewardModel):
    """-log softmax(r)[best]: the best of K answers is known        Ziegler et al. 2019, eq. 1

    The labels (B,) are the columns of the best answers.  For K = 2 it is the loss of pairs.
    """

    def __init__(self, trunk):
        super().__init__(trunk)

    def targets(self, labels, mask=None):
        """Return labels (B,), the columns of the best answers; raise ValueError for others."""
        labels = np.asarray(labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or (labels < 0).any():
            raise ValueError(f"labels must be (prompts,), columns of answers; got {labels!r}")
        return labels

    def loss_at(self, ids, targets, /, adaptation=None, *, mask=None, rng=None, count=None, **_):
        r = self.scores(ids, adaptation, mask=mask, rng=rng)
        check_targets(targets, r.shape[:1])
        if (targets >= r.shape[1]).any():
            raise ValueError(f"labels must be columns of {r.shape[1]} answers; got {targets}")
        return cross_entropy(r, targets, count or len(targets))


def center(model: RewardModel, adaptation: Adaptation, ids, mask=None) -> None:
    """Set the bias so that the mean score of texts ids (N, T) is 0        Ouyang et al. 2022, §3.5

    The loss of pairs leaves the bias undetermined.  The texts are demonstrations.
    Raises ValueError for an adaptation without a head.
    """
    biases = [head["b"] for m in adaptation.leaves() if "b" in (head := m.at.get("score", {}))]
    if not biases:
        raise ValueError(f"{adaptation} has no head: attach Chain(LoRA(), Probe()) to the model")
    texts = np.asarray(ids)
    mask = np.ones(texts.shape, bool) if mask is None else np.asarray(mask)
    r = compute(lambda rows: model(texts[rows], adaptation, mask=mask[rows]), texts)
    biases[0].data -= r.mean()


class ValueModel(TokenClassifier):
    """V_t = w · h_t + b: the reward that is expected after the tokens up to t

    It has the parameters of a RewardModel, from which InstructGPT starts it.  A reward is known at
    the end of an answer only; without V, each of its tokens would be credited with all of it, and
    the gradient would be much noisier.
    """

    def __init__(self, trunk):
        super().__init__(trunk, 1, bias=True)

    def __call__(self, ids, adaptation: Adaptation | None = None, **options) -> Tensor:
        """Return the values (N, T) of texts ids (N, T); see `Transformer.states`."""
        V = super().__call__(ids, adaptation, **options)
        return reshape(V, V.shape[:2])
