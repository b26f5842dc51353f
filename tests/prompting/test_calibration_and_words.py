"""Calibration, heads in place of words, searched words, and the choice of examples."""

from collections import Counter

import numpy as np
import pytest

import minipeft as mp
from minipeft.model.ensemble import mean_probability
from minipeft.prompting.calibration import calibrate, content_free, domain
from minipeft.prompting.classifier import PromptClassifier
from minipeft.prompting.examples import choose_examples
from minipeft.prompting.heads import prototypes, soft_verbalizer
from minipeft.prompting.verbalizer import Verbalizer, numbered
from minipeft.prompting.words import find_words, whole_words
from minipeft.training.trainer import Trainer
from minipeft.world import sentiment
from tests.prompting.test_classifier import MODELS, TEXTS, prompted

LABELS = ["b", "a", "a", "b"]


@pytest.fixture(scope="module")
def reviews():
    return sentiment.splits(train=400, dev=0, test=100)


@pytest.fixture(scope="module")
def liked():
    return PromptClassifier(mp.load(), "{x} I would [MASK]", {0: "never", 1: "gladly"})


def accuracy(classifier, examples, γ=None):
    texts, labels = zip(*examples)
    return np.mean([p == y for p, y in zip(classifier.predict(texts, γ), labels)])


def test_the_base_knows_what_a_review_means(liked, reviews):
    """Zero-shot: nothing was trained, and guessing is right half of the time."""
    assert accuracy(liked, reviews["test"]) > 0.65


def test_calibration_removes_what_the_template_makes_likely():
    classifier = prompted(MODELS["decoder"])
    for prior in (content_free(classifier), domain(classifier), domain(classifier, "1 2")):
        q = np.exp(calibrate(prior[None], prior))
        assert np.abs(q - 0.5).max() <= 1e-12 and np.abs(np.exp(prior).sum() - 1) <= 1e-12
    pair = prompted(MODELS["decoder"], "{text_a} 1 {text_b} [MASK]")
    assert content_free(pair).shape == domain(pair).shape == (2,)


@pytest.mark.parametrize(
    "log_p, prior, message",
    [
        ([[0.0, 1.0]], [0.0], r"got \(1, 2\) and \(1,\)"),
        ([0.0, 1.0], [0.0, 1.0], "must be .texts, classes."),
        ([[0.0, np.nan]], [0.0, 1.0], "must be finite"),
        ([[0.0, 1.0]], [0.0, -np.inf], "must be finite"),
    ],
)
def test_calibration_takes_finite_logarithms(log_p, prior, message):
    with pytest.raises(ValueError, match=message):
        calibrate(log_p, prior)


@pytest.mark.parametrize("name", MODELS)
def test_a_soft_verbalizer_starts_from_the_words_and_learns(name):
    classifier = prompted(MODELS[name], "1 {x} 2 [MASK]", tokens="mean", combine="mean")
    soft = soft_verbalizer(classifier)
    start = classifier.log_probabilities(TEXTS)
    assert np.abs(soft.log_probabilities(TEXTS) - start).max() <= 1e-12
    γ = mp.FullFineTuning("^head$").attach(soft.model)
    assert {path for path, _ in γ.named_parameters()} == {"head.W", "head.b"}
    ids, labels, mask = soft.collate(TEXTS, LABELS)
    trainer = Trainer(soft, γ, mp.AdamW(γ.parameters(), lr=0.5))
    for _ in range(100):
        trainer.step(ids, labels, mask=mask)
    assert soft.predict(TEXTS, γ) == LABELS
    assert np.abs(classifier.log_probabilities(TEXTS) - start).max() == 0


@pytest.mark.parametrize("name", MODELS)
def test_prototypes_of_one_example_each_classify_it(name):
    classifier = prompted(MODELS[name], "1 {x} 2 [MASK]")
    found = prototypes(classifier, list(zip(TEXTS[:2], LABELS)))
    assert found.predict(TEXTS[:2]) == LABELS[:2]
    with pytest.raises(ValueError, match="no example of the class 'b'"):
        prototypes(classifier, [("1", "a")])


def test_the_words_are_found_that_the_grammar_of_the_world_uses(liked, reviews):
    felt = PromptClassifier(liked.model, "{x} I was [MASK]", {0: "cross", 1: "content"})
    assert find_words(felt, reviews["train"]) == Verbalizer({0: "sorry", 1: "glad"}, "first")


def test_found_words_are_words_and_differ(liked):
    tokens = [liked.tokenizer.decode([int(i)]) for i in whole_words(liked)]
    assert all(token[0] == " " and token[1:].isalpha() for token in tokens) and " it" in tokens
    same = [("It was warm.", 0), ("It was warm.", 0), ("It was warm.", 1)]
    assert len({*find_words(liked, same).all_words}) == 2


def test_words_need_an_example_of_each_class_and_enough_candidates(liked):
    with pytest.raises(ValueError, match="no example of the class 1"):
        find_words(liked, [("It was warm.", 0)])
    for candidates in (1, 10**6):
        with pytest.raises(ValueError, match=f"candidates={candidates} must be from 2, the number"):
            find_words(liked, [("It was warm.", 0), ("It was cold.", 1)], candidates=candidates)


def test_options_have_numbers():
    text, verbalizer = numbered({"bad": "disliked it", "good": "liked it"})
    assert text == "1. disliked it 2. liked it"
    assert verbalizer == Verbalizer({"bad": "1", "good": "2"})


def test_weights_of_an_ensemble():
    p = np.array([[[0.9, 0.1]], [[0.1, 0.9]]])
    assert np.allclose(mean_probability(p, [3, 1]), [[0.7, 0.3]])
    for weights in ([1], [0, 0], [-1, 2], [np.nan, 1], [np.inf, 1]):
        with pytest.raises(ValueError, match="weights must be"):
            mean_probability(p, weights)


@pytest.mark.parametrize("seed", range(5))
def test_examples_are_balanced_and_in_random_order(seed):
    examples = [(str(i), i % 3) for i in range(30)]
    choose = lambda shots: choose_examples(examples, shots, np.random.default_rng(seed))
    for shots in (0, 1, 5, 9, 30):
        chosen = choose(shots)
        counts = Counter(y for _, y in chosen)
        assert len({*chosen}) == shots and chosen == choose(shots)
        assert not shots or max(counts.values()) - min(counts.get(y, 0) for y in range(3)) <= 1
    for shots in (-1, 31):
        with pytest.raises(ValueError, match="from 0 to 30, the number of examples"):
            choose(shots)


def test_the_classes_are_in_another_order_for_each_seed():
    examples = [(str(i), i % 2) for i in range(8)]
    chosen = [choose_examples(examples, 8, np.random.default_rng(seed)) for seed in range(5)]
    assert len({tuple(y for _, y in order) for order in chosen}) > 1
