"""Batches: padding, shuffling, passages of a text."""

from itertools import islice

import numpy as np
import pytest

from minipeft.data.batches import pad, passages, shuffled_batches
from minipeft.data.files import DataError


def test_padding_is_masked():
    ids, mask = pad([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


def test_an_epoch_has_every_example_once():
    batches = shuffled_batches(range(12), 4, np.random.default_rng(0))
    for _ in range(2):
        assert sorted(i for batch in islice(batches, 3) for i in batch) == list(range(12))


def test_a_batch_has_texts_of_similar_length():
    rng = np.random.default_rng(0)
    texts = ["x" * n for n in rng.integers(1, 50, 320)]
    batches = list(islice(shuffled_batches(texts, 10, rng, len), 32))
    spans = [max(map(len, batch)) - min(map(len, batch)) for batch in batches]
    assert max(spans) <= 15 and sorted(sum(batches, [])) == sorted(texts)
    first = [len(batch[0]) for batch in batches]
    for lengths in (first[:8], first[8:16], first[16:24], first[24:]):
        assert lengths != sorted(lengths)  # the order of batches is random


@pytest.mark.parametrize("n", [45, 100, 135, 200])
def test_long_and_short_texts_come_equally_often_and_meet_others(n):
    rng = np.random.default_rng(0)
    batches = list(islice(shuffled_batches(range(n), 10, rng, lambda i: i), 50 * n))
    assert {len(batch) for batch in batches} == {10}
    counts = np.bincount(np.ravel(batches), minlength=n)
    assert counts.min() > 0.9 * counts.mean()
    with_0 = [batch for batch in batches if 0 in batch]
    assert len({i for batch in with_0 for i in batch}) > 0.3 * n
    assert len({frozenset(batch) for batch in batches}) > 0.9 * len(batches)


def test_fewer_examples_than_a_batch_are_one_batch():
    batches = shuffled_batches("ab", 4, np.random.default_rng(0))
    assert [sorted(batch) for batch in islice(batches, 3)] == [["a", "b"]] * 3


def test_passages_are_pieces_of_the_text():
    ids, labels, mask = next(passages(np.arange(50), 6, 8, np.random.default_rng(0)))
    assert ids.shape == (6, 8) and mask is None and ids is labels
    assert (np.diff(ids) == 1).all() and ids.max() < 50
    ids, _, _ = next(passages(np.arange(9), 50, 8, np.random.default_rng(0)))
    assert set(ids[:, 0].tolist()) == {0, 1}
    with pytest.raises(DataError, match="has 7 tokens, fewer than one passage of 8"):
        next(passages(np.arange(7), 6, 8, np.random.default_rng(0)))
