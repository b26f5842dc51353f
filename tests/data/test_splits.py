"""Splits: no text in two of them, and a user's own examples."""

import numpy as np
import pytest

from minipeft.data.files import DataError
from minipeft.data.splits import generate_splits, split


def example(rng, i, ood):
    """An example whose text is often drawn again."""
    return f"{'other' if ood else 'text'} {rng.integers(60)}", i


def test_no_text_is_in_two_splits_and_the_i_th_example_is_asked_for_as_such():
    splits = generate_splits(example, train=20, dev=5, test=10)
    assert {name: len(pairs) for name, pairs in splits.items()} == {
        "test": 10,
        "ood": 10,
        "dev": 5,
        "train": 20,
    }
    texts = [text for pairs in splits.values() for text, _ in pairs]
    assert len(set(texts)) == len(texts)
    assert all([i for _, i in pairs] == list(range(len(pairs))) for pairs in splits.values())
    assert {text.split()[0] for text, _ in splits["ood"]} == {"other"}


def test_a_users_examples_are_each_in_one_split():
    examples = [(str(i), i % 2) for i in range(50)]
    splits = split(examples, np.random.default_rng(0), dev=0.1, test=0.2)
    assert [len(splits[name]) for name in ("train", "dev", "test")] == [34, 6, 10]
    assert sorted(sum(splits.values(), []), key=lambda example: int(example[0])) == examples
    with pytest.raises(DataError, match="19 examples, too few: give at least 20"):
        split(examples[:19], np.random.default_rng(0), dev=0.1)


@pytest.mark.parametrize("shares", [{"dev": 0.1}, {"test": 0.2}, {"dev": 0.1, "test": 0.2}])
@pytest.mark.parametrize("seed", range(5))
def test_every_label_is_trained_and_its_share_is_in_each_split(shares, seed):
    rare = [(str(i), f"rare {i % 4}") for i in range(30, 36)] + [("x", "1")]
    examples = [(str(i), "common") for i in range(30)] + rare
    splits = split(examples, np.random.default_rng(seed), **shares)
    assert sorted(sum(splits.values(), [])) == sorted(examples)
    assert {y for _, y in splits["train"]} == {y for _, y in examples}
    for name, share in shares.items():
        assert sum(y == "common" for _, y in splits[name]) == round(30 * share)
    largest = max(shares, key=shares.get)
    assert {y for _, y in splits[largest]} == {"common", "rare 2", "rare 3"}


def test_a_split_that_would_be_empty_is_refused():
    examples = [(str(i), i // 2) for i in range(20)]
    with pytest.raises(DataError, match="no label has enough examples for dev beside training"):
        split(examples, np.random.default_rng(0), dev=0.1, test=0.2)
