"""Metrics against their definitions, written literally."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipeft.data.metrics import (
    accuracy,
    bootstrap,
    macro_f1,
    matthews_correlation,
    span_f1,
    spans,
    wilson,
)

TAGS = st.lists(st.sampled_from("O B-X I-X B-Y I-Y noun".split()), max_size=8)


def test_accuracy_is_the_share_of_right_predictions():
    assert accuracy([1, 0, 1, 1], [1, 1, 1, 0]) == 0.5


def test_macro_f1_counts_each_class_that_is_predicted_or_true_once():
    assert macro_f1(["a", "a", "b", "c"], ["a", "b", "b", "b"]) == (2 / 3 + 1 / 2 + 0) / 3


def test_matthews_correlation_is_1_of_right_and_minus_1_of_opposite_answers():
    labels = [0, 1, 1, 0, 0]
    assert matthews_correlation(labels, labels) == 1
    assert matthews_correlation([1 - y for y in labels], labels) == pytest.approx(-1)
    assert matthews_correlation([0] * 5, labels) == matthews_correlation(labels, [1] * 5) == 0


def test_a_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    share = lambda right: sum(right) / len(right)
    for _ in range(200):
        right = rng.random(60) < 0.7
        low, high = bootstrap(share, right, rng=rng, draws=100)
        covered += low <= 0.7 <= high
    assert 0.9 <= covered / 200 <= 0.98


def test_systems_that_err_together_are_compared_more_precisely_in_pairs():
    rng = np.random.default_rng(0)
    a = np.arange(200) % 2
    b = a + (np.arange(200) % 24 == 0)  # b is right where a is, and 9 times more
    labels = np.ones(200, int)
    gain = lambda a, b, labels: accuracy(b, labels) - accuracy(a, labels)
    low, high = bootstrap(gain, a, b, labels, rng=rng, draws=200)
    assert 0 < low <= (b - a).mean() <= high < 0.1
    alone = [bootstrap(accuracy, x, labels, rng=rng, draws=200) for x in (a, b)]
    assert alone[0][1] > alone[1][0]  # these two intervals overlap


def test_a_bootstrap_needs_one_entry_for_each_example():
    with pytest.raises(ValueError, match="got 2 predictions for 3 labels"):
        bootstrap(accuracy, [1, 0], [1, 0, 1], rng=np.random.default_rng(0))


def slow_spans(tags):
    """Every stretch of tags that begins an entity, continues it, and is not continued after it."""
    entities = set()
    for start in range(len(tags)):
        for end in range(start + 1, len(tags) + 1):
            kind = tags[start][2:]
            before = tags[start - 1][2:] if start and tags[start - 1] != "noun" else None
            begins = tags[start][:2] == "B-" or tags[start][:2] == "I-" and before != kind
            continues = all(tag == f"I-{kind}" for tag in tags[start + 1 : end])
            if begins and continues and (end == len(tags) or tags[end] != f"I-{kind}"):
                entities.add((start, end, kind))
    return entities


@given(TAGS)
def test_spans_are_the_maximal_entities(tags):
    assert spans(tags) == slow_spans(tags)


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=3))
def test_span_f1_is_the_harmonic_mean_of_precision_and_recall(pairs):
    pairs = [(p[:n], t[:n]) for p, t in pairs for n in [min(len(p), len(t))] if n]
    if not pairs:
        return
    predicted, true = ([{(i, *s) for i, x in enumerate(z) for s in spans(x)}] for z in zip(*pairs))
    (predicted,), (true,) = predicted, true
    right = len(predicted & true)
    if not predicted and not true:
        expected = 1
    elif not right:
        expected = 0
    else:
        precision, recall = right / len(predicted), right / len(true)
        expected = 2 * precision * recall / (precision + recall)
    assert span_f1([p for p, _ in pairs], [t for _, t in pairs]) == pytest.approx(expected)


def test_tags_without_entities_are_right_if_none_was_predicted():
    assert span_f1([["O"]], [["O"]]) == 1 and span_f1([["B-X"]], [["O"]]) == 0


@pytest.mark.parametrize("score", [accuracy, macro_f1, matthews_correlation, span_f1])
@pytest.mark.parametrize("lists", [([["O"]], [["O"], ["O"]]), ([], [])])
def test_there_must_be_one_prediction_for_each_label(score, lists):
    with pytest.raises(ValueError, match="give one prediction for each label"):
        score(*lists)


@pytest.mark.parametrize(
    "right, total, interval",  # Newcombe 1998, table I
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_intervals_of_newcombe(right, total, interval):
    assert wilson(right, total) == pytest.approx(interval, abs=5e-5)
    low, high = wilson(total - right, total)
    assert (1 - high, 1 - low) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize("right, total", [(0, 0), (3, 2), (-1, 2)])
def test_a_share_is_between_0_and_1(right, total):
    with pytest.raises(ValueError, match="must be from 0 to"):
        wilson(right, total)
