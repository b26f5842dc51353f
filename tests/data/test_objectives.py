"""Pretraining objectives: masked words, corrupted spans, and texts that are cut in two."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipeft.data.objectives import corrupt_spans, divide, mask_tokens, split_prefixes

SENTINELS = range(1000, 1032)


def test_masked_words():
    """15 % of the words, of which 80 / 10 / 10 %: Devlin et al. 2019, §3.1."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 400, (10, 5000))
    masked, labels = mask_tokens(ids, range(1, 395), 399, rng)
    words, chosen = (1 <= ids) & (ids < 395), labels >= 0
    assert np.array_equal(np.where(chosen, labels, masked), ids) and not chosen[~words].any()
    assert abs(chosen[words].mean() - 0.15) < 0.01
    share = lambda condition: (condition & chosen).sum() / chosen.sum()
    assert abs(share(masked == 399) - 0.8) < 0.02
    others = (masked != ids) & (masked != 399)
    assert abs(share(others) - 0.1) < 0.02 and (1 <= masked[others]).all()
    assert (masked[others] < 395).all()


def test_an_example_of_span_corruption():
    inputs, targets = corrupt_spans(range(20), SENTINELS, np.random.default_rng(0))
    kept = inputs.index(1000)
    assert inputs == [*range(kept), 1000] and targets == [1000, *range(kept, 20), 1001]


@given(st.integers(2, 200), st.integers(0, 99))
def test_spans_are_those_of_the_text(length, seed):
    inputs, targets = corrupt_spans(range(length), SENTINELS, np.random.default_rng(seed))
    removed = max(1, round(0.15 * length))
    spans = max(1, round(removed / 3))
    marks = [token for token in targets if token >= 1000]
    assert marks == [*SENTINELS[: spans + 1]] and targets[-1] == marks[-1]
    assert [token for token in inputs if token >= 1000] == marks[:-1]
    words = [[token for token in row if token < 1000] for row in (inputs, targets)]
    assert sorted(words[0] + words[1]) == [*range(length)] and len(words[1]) == removed
    assert all(inputs[i - 1] < 1000 for i, token in enumerate(inputs) if token >= 1000)


def test_where_spans_are_is_equally_likely():
    rng = np.random.default_rng(0)
    counts = {}
    for _ in range(6000):
        parts = tuple(divide(5, 3, rng))
        counts[parts] = counts.get(parts, 0) + 1
    assert len(counts) == 6 and all(sum(parts) == 5 and min(parts) > 0 for parts in counts)
    assert all(abs(count - 1000) < 150 for count in counts.values())


@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.integers(0, 99))
def test_texts_are_cut_at_one_place(lengths, seed):
    texts = [[*range(n)] for n in lengths]
    first, second = split_prefixes(texts, np.random.default_rng(seed))
    assert [a + b for a, b in zip(first, second)] == texts
    assert len({*map(len, first)}) == 1 and all(first) and all(second)


def test_every_place_to_cut_occurs():
    rng = np.random.default_rng(0)
    cuts = {len(split_prefixes([[*range(6)]], rng)[0][0]) for _ in range(200)}
    assert cuts == {1, 2, 3, 4, 5}


def test_texts_that_are_too_short_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="a text of 1 token can't be cut: give at least two"):
        split_prefixes([[1, 2], [3]], rng)
    with pytest.raises(ValueError, match="a text of 1 token can't be corrupted with 32 sentinels"):
        corrupt_spans([1], SENTINELS, rng)
    with pytest.raises(ValueError, match="2 sentinels: it needs at least two tokens, and 3"):
        corrupt_spans(range(40), SENTINELS[:2], rng)
