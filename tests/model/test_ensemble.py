"""Several adaptations of a classifier vote."""

import numpy as np
import pytest

from minipeft import PLAIN, PromptTuning, ensemble, majority_vote, mean_probability
from minipeft.autograd.backend import host
from tests.support.families import (
    CLASSIFIERS,
    DECODERS,
    METHODS,
    TAGGERS,
    C,
    attached,
    batch,
    classifiers,
)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@classifiers
def test_any_methods_together_are_as_alone(model):
    ids, _, mask = batch(model, 5)
    members = [None, *(attached(name, model) for name in METHODS)]
    p = ensemble(model, members, ids, mask=mask)
    assert p.shape == (len(members), 5, C)
    alone = [softmax(host(model(ids, γ or PLAIN, mask=mask).data)) for γ in members]
    np.testing.assert_allclose(p, alone, atol=1e-12)


def test_texts_of_two_types():
    model, rng = CLASSIFIERS["cls"], np.random.default_rng(0)
    ids, _, mask = batch(model, 4)
    token_types, γ = rng.integers(0, 2, ids.shape), attached("lora", model)
    p = ensemble(model, [γ, γ], ids, mask=mask, token_types=token_types)
    alone = softmax(model(ids, γ, mask=mask, token_types=token_types).data)
    np.testing.assert_allclose(p, [alone, alone], atol=1e-12)


def test_most_votes_win():
    p = np.array([[[0.4, 0.3, 0.3]], [[0.4, 0.3, 0.3]], [[0.0, 0.9, 0.1]]])
    assert majority_vote(p) == 0
    np.testing.assert_allclose(mean_probability(p), [[0.8 / 3, 0.5, 0.7 / 3]])


def test_a_tie_goes_to_the_larger_sum_of_log_probabilities():
    p = np.array([[[0.6, 0.1, 0.3]], [[0.1, 0.5, 0.4]]])
    assert majority_vote(p) == 0  # log .06 > log .05; the third, with log .12, has no vote
    assert majority_vote(p[..., [1, 0, 2]]) == 1
    assert majority_vote(p[::-1]) == 0
    p = np.array([[[0.8, 0.1, 0.1]], [[0.01, 0.5, 0.49]]])
    assert majority_vote(p) == 1  # log .05 > log .008, though .6 < .81


def test_a_tie_in_everything_goes_to_the_first():
    assert majority_vote(np.array([[[0.2, 0.5, 0.3]], [[0.2, 0.3, 0.5]]])) == 1


def test_what_is_impossible_to_one_can_win_a_tie_but_needs_a_vote():
    p = np.array([[[0.1, 0.9, 0.0]], [[0.1, 0.0, 0.9]]], np.float32)
    assert majority_vote(p) == 1


def test_bad_input():
    model = CLASSIFIERS["last"]
    ids, _, _ = batch(model, 2)
    for network, members in ((model, []), (TAGGERS["tags"], [None]), (DECODERS["gpt2"], [None])):
        with pytest.raises(ValueError, match="ensemble needs a Classifier"):
            ensemble(network, members, ids)
    with pytest.raises(ValueError, match="not attached to a model"):
        ensemble(model, [PromptTuning(2)], ids)
    with pytest.raises(ValueError, match="different lengths"):
        ensemble(model, [None], [[1, 2], [3]])
    for p in (
        np.ones((2, 3)),
        np.full((1, 1, 2), np.nan),
        np.zeros((0, 1, 2)),
        [[[3.0, -1.0]]],
        [[[1.5]]],
    ):
        for vote in (majority_vote, mean_probability):
            with pytest.raises(ValueError, match="probabilities"):
                vote(p)
