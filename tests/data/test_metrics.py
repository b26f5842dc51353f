"""Metrics against their definitions, written literally."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipeft.data.metrics import accuracy, bleu, span_f1, spans, wilson

SENTENCES = st.lists(st.sampled_from("a b c d .".split()), max_size=9).map(" ".join)
CORPUS = st.lists(
    st.tuples(SENTENCES, st.lists(SENTENCES, min_size=1, max_size=3)), min_size=1, max_size=3
)
TAGS = st.lists(st.sampled_from("O B-X I-X B-Y I-Y noun".split()), max_size=8)


def slow_bleu(hypotheses, references):
    log_score = 0.0
    for n in (1, 2, 3, 4):
        matched = total = 0
        for hypothesis, texts in zip(hypotheses, references):
            grams, *lists = (
                [tuple(t.split()[i : i + n]) for i in range(len(t.split()) - n + 1)]
                for t in (hypothesis, *texts)
            )
            total += len(grams)
            for gram in set(grams):
                matched += min(grams.count(gram), max(other.count(gram) for other in lists))
        if matched == 0:
            return 0.0
        log_score += 0.25 * math.log(matched / total)
    c = r = 0
    for hypothesis, texts in zip(hypotheses, references):
        length = len(hypothesis.split())
        lengths = sorted(len(text.split()) for text in texts)
        c += length
        r += min(lengths, key=lambda other: abs(other - length))
    return math.exp(log_score) * (1 if c > r else math.exp(1 - r / c))


@given(CORPUS)
def test_bleu_equals_its_definition(corpus):
    hypotheses, references = map(list, zip(*corpus))
    assert bleu(hypotheses, references) == pytest.approx(slow_bleu(hypotheses, references))


def test_bleu_clips_counts_and_penalises_brevity():
    references = ["the cat sat on the mat."]
    assert bleu(["the cat sat on the mat ."], [references]) == 1
    assert bleu(["the the the the the the the"], [references]) == 0
    short = bleu(["the cat sat on"], [references])
    assert short == pytest.approx(math.exp(1 - 7 / 4))
    # of two references equally close in length, the shorter one counts
    assert bleu(["the cat sat on"], [references + ["the cat sat"]]) == 1
    doubled = "the cat sat on the mat. the cat sat on the mat."
    for texts in (references, references * 2):  # a word counts as often as in one reference
        clipped = (7 * 6 * 5 * 4 / (14 * 13 * 12 * 11)) ** 0.25
        assert bleu([doubled], [texts]) == pytest.approx(clipped)


def test_accuracy_is_the_share_of_right_predictions():
    assert accuracy([1, 0, 1, 1], [1, 1, 1, 0]) == 0.5


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


@pytest.mark.parametrize("score", [accuracy, span_f1, bleu])
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
