"""The loss of a solved probe is that of scikit-learn's LogisticRegression."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.data.batches import pad
from minipeft.training.logistic import LogisticRegression
from minipeft.world import nli, sentiment
from tests.training.test_logistic import draw, loss_and_gradient

linear_model = pytest.importorskip("sklearn.linear_model")


def least_loss(x, y, C, λ):
    """The least loss that scikit-learn finds, from its matrix by our autograd.

    Of two classes it has one vector w = W[:, 1] - W[:, 0], for which ‖W‖² is at least ‖w‖² / 2.
    """
    halves = 2 if C == 2 else 1
    model = linear_model.LogisticRegression(
        C=halves / (λ * len(x)),
        fit_intercept=False,
        tol=1e-12,
        max_iter=100_000,
        solver="newton-cg",
    )
    W = model.fit(x, y).coef_.T
    W = np.hstack([-W, W]) / 2 if C == 2 else W
    return loss_and_gradient(x, y, W)[0] + λ / 2 * (W**2).sum()


def check_loss(x, y, C, factors=(1, 1e-2, 1e-4)):
    regression = LogisticRegression(x, y, C)
    for λ in (factor * regression.mean_square for factor in factors):
        W = regression.solve(λ)
        loss = loss_and_gradient(x, y, W)[0] + λ / 2 * (W**2).sum()
        assert abs(loss - least_loss(x, y, C, λ)) < 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_random_features_have_the_least_loss(seed):
    x, y, C = draw(seed, badly_scaled=False)
    present = np.unique(y)  # scikit-learn has only the classes that occur
    if len(present) > 1:
        check_loss(x, np.searchsorted(present, y), len(present))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_badly_scaled_features_have_the_least_loss(scale):
    x, y, C = draw(5, badly_scaled=False)
    assert len(np.unique(y)) == C and x.shape[1] > 2
    check_loss(x * np.append(scale, np.ones(x.shape[1] - 1)), y, C, (1, 1e-2))


@pytest.mark.parametrize("data", [sentiment, nli])
def test_features_of_the_base_have_the_least_loss(data):
    examples, tokenizer = data.splits()["train"][:120], mp.load_tokenizer()
    texts = [text if isinstance(text, str) else " ".join(text) for text, _ in examples]
    ids, mask = pad([tokenizer.encode(text).ids for text in texts])
    labels, y = np.unique([label for _, label in examples], return_inverse=True)
    features, _ = mp.Classifier(mp.load(), len(labels)).features(ids, mask=mask)
    check_loss(np.asarray(features.data[:, 0], np.float64), y, len(labels))
