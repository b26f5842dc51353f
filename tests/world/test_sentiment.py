"""The task `sentiment`."""

import re
from itertools import islice

import numpy as np
import pytest

from minipeft.world.corpus import documents
from minipeft.world.domains import domains
from minipeft.world.sentiment import IN_DISTRIBUTION, OUT_OF_DISTRIBUTION, splits


def words(texts):
    return re.findall("[a-z]+", " ".join(texts).lower())


@pytest.fixture(scope="module")
def examples():
    return splits()


def test_splits_are_balanced_and_reviews_are_short(examples):
    for split in examples.values():
        assert sum(label for _, label in split) == len(split) / 2
        assert all(8 <= len(text.split()) <= 40 for text, _ in split)


def test_reviews_use_the_words_of_the_documents(examples):
    known = set(words(islice(documents(np.random.default_rng(0)), 10_000)))
    assert all(set(words([text])) <= known for split in examples.values() for text, _ in split)


def test_reviews_of_ood_domains_are_in_ood_only(examples):
    def nouns(names):
        aspects = [aspect.noun for name in names for aspect in domains()[name]["aspects"]]
        return set(words(aspects + [thing for name in names for thing in domains()[name]["thing"]]))

    train, ood = ({*words(text for text, _ in examples[split])} for split in ("train", "ood"))
    assert nouns(IN_DISTRIBUTION) <= train and nouns(OUT_OF_DISTRIBUTION) <= ood
    assert not nouns(OUT_OF_DISTRIBUTION) & train and not nouns(IN_DISTRIBUTION) & ood


def test_a_bag_of_words_is_not_enough(examples):
    """A ridge regression on words: above chance, far from 1, and worse out of distribution."""
    vocabulary = sorted(set(words(text for text, _ in examples["train"])))

    def features(split):
        present = [set(words([text])) for text, _ in examples[split]]
        x = np.array([[word in text for word in vocabulary] for text in present], float)
        return x, np.array([2 * label - 1 for _, label in examples[split]])

    x, y = features("train")
    w = np.linalg.solve(x.T @ x + 30 * np.eye(len(vocabulary)), x.T @ y)
    test, ood = (np.mean((x @ w > 0) == (y > 0)) for x, y in map(features, ("test", "ood")))
    assert 0.75 < test < 0.9 and 0.6 < ood < test - 0.05
