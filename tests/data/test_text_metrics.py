"""Metrics of texts against the examples of their papers, and their definitions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipeft.data.text_metrics import (
    bleu,
    clipped_matches,
    exact_match,
    longest_common_subsequence,
    normalize_answer,
    rouge_l,
    rouge_n,
    squad_f1,
)

SENTENCES = st.lists(st.sampled_from("a b c d .".split()), max_size=9).map(" ".join)
CORPUS = st.lists(
    st.tuples(SENTENCES, st.lists(SENTENCES, min_size=1, max_size=3)), min_size=1, max_size=3
)


CANDIDATES = {
    "guide": "It is a guide to action which ensures that the military always obeys the commands of "
    "the party",
    "troops": "It is to insure the troops forever hearing the activity guidebook that party direct",
    "the": "the the the the the the the",
}
REFERENCES = {
    "party": [
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "It is the guiding principle which guarantees the military forces always being under the "
        "command of the Party",
        "It is the practical guide for the army always to heed the directions of the party",
    ],
    "mat": ["The cat is on the mat", "There is a cat on the mat"],
}


# -- BLEU


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


@pytest.mark.parametrize(
    "candidate, references, n, matches",  # Papineni et al. 2002, examples 1 and 2
    [
        ("guide", "party", 1, (17, 18)),
        ("guide", "party", 2, (10, 17)),
        ("troops", "party", 1, (8, 14)),
        ("troops", "party", 2, (1, 13)),
        ("the", "mat", 1, (2, 7)),
    ],
)
def test_modified_precisions_of_papineni(candidate, references, n, matches):
    texts = [text.lower().split() for text in REFERENCES[references]]
    assert clipped_matches(CANDIDATES[candidate].lower().split(), texts, n) == matches


# -- ROUGE


@pytest.mark.parametrize(
    "candidate, score",  # Lin 2004, §3.1
    [
        ("police kill the gunman", 3 / 4),
        ("the gunman kill police", 2 / 4),
        ("the gunman police killed", 2 / 4),
    ],
)
def test_rouge_l_of_lin(candidate, score):
    assert rouge_l([candidate], [["Police killed the gunman."]]) == score


def test_rouge_2_of_lin():
    """ROUGE-2 doesn't tell the first two apart, and ROUGE-L does."""
    candidates = "police kill the gunman", "the gunman kill police", "the gunman police killed"
    scores = [rouge_n([text], [["police killed the gunman"]], 2) for text in candidates]
    assert scores == [1 / 3, 1 / 3, 2 / 3]


@given(*[st.lists(st.sampled_from("abc"), max_size=7)] * 2)
def test_a_common_subsequence_is_as_long_as_in_its_recursion(a, b):
    def length(i, j):
        if not i or not j:
            return 0
        if a[i - 1] == b[j - 1]:
            return length(i - 1, j - 1) + 1
        return max(length(i - 1, j), length(i, j - 1))

    assert longest_common_subsequence(a, b) == length(len(a), len(b))


def test_the_best_reference_counts_and_texts_weigh_the_same():
    references = [["x x x", "a b c d"], ["a b"]]
    for rouge in (rouge_l, lambda *texts: rouge_n(*texts, 1)):
        assert rouge(["a b", "a b"], references) == pytest.approx((2 / 3 + 1) / 2)
        assert rouge(["", "a"], [["a"], [""]]) == rouge(["", "?"], [[""], ["!"]]) == 0


# -- SQuAD


def test_answers_are_compared_without_case_punctuation_and_articles():
    assert normalize_answer("The  U.S. (an ally),\nand a\tTheatre") == "us ally and theatre"
    assert squad_f1(["the cat sat"], [["A cat, sat!"]]) == 1
    assert exact_match(["the cat"], [["Cat."]], normalize=normalize_answer) == 1
    assert exact_match(["the cat"], [["Cat."]]) == 0


def test_the_best_gold_answer_counts_and_answers_without_words_are_equal():
    assert squad_f1(["a cat sat", "x"], [["dog", "cat", "cat dog"], ["y"]]) == (2 / 3 + 0) / 2
    assert exact_match(["cat", "dog"], [["dog", "cat"], ["cat"]]) == 0.5
    assert squad_f1(["the", "", "x"], [[""], ["x"], ["an"]]) == 1 / 3


# -- all


@pytest.mark.parametrize("metric", [bleu, exact_match, squad_f1, rouge_l])
def test_each_text_needs_a_list_of_references(metric):
    with pytest.raises(ValueError, match="give one prediction for each label"):
        metric(["a"], [])
    for references in ("a", []):
        with pytest.raises(ValueError, match="the references of text 1 are .*: give a list"):
            metric(["a", "a"], [["a"], references])
