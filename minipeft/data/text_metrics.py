"""Metrics of texts: exact match, SQuAD's F1, BLEU, ROUGE.

`references` has a list of reference texts for each prediction.
"""

import re
import string
from collections import Counter
from collections.abc import Callable
from math import exp, log

from .metrics import check_lengths, f1

WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(predictions: list, references: list, normalize: Callable = str) -> float:
    """Return the share of predictions that equal one of their references.

    normalize: applied to both; `normalize_answer` is SQuAD's.
    """
    equal = lambda p, r: normalize(p) == normalize(r)
    return mean_of_best(equal, predictions, references)


def normalize_answer(text: str) -> str:
    """Return a text in lower case without punctuation and articles   Rajpurkar et al. 2016"""
    text = text.lower().translate(WITHOUT_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(predictions: list, references: list) -> float:
    """Return the mean F1 of the words of normalized answers        Rajpurkar et al. 2016

    Of several references, the one with the highest F1 counts.  It is 1 for two answers without
    words.
    """

    def score(prediction, reference):
        p, r = (Counter(normalize_answer(text).split()) for text in (prediction, reference))
        return f1((p & r).total(), p.total(), r.total())

    return mean_of_best(score, predictions, references)


def words(text: str) -> list:
    """Return the words and the punctuation marks of a text."""
    return re.findall(r"\w+|[^\w\s]", text)


def ngrams(tokens: list, n: int) -> Counter:
    """Return how often each sequence of n tokens occurs."""
    return Counter(zip(*(tokens[i:] for i in range(n))))


def clipped_matches(tokens: list, references: list, n: int) -> tuple[int, int]:
    """Return how many n-grams of tokens a reference has, and how many there are.

    Each counts at most as often as in the reference that has it most often, so their quotient is
    the modified precision of Papineni et al. 2002, §2.1.
    """
    found, most = ngrams(tokens, n), Counter()
    for reference in references:
        most |= ngrams(reference, n)
    return (found & most).total(), found.total()


def bleu(hypotheses: list, references: list) -> float:
    """exp(min(0, 1 - r/c) + Σₙ log pₙ / 4), n = 1…4        Papineni et al. 2002, §2.3

    pₙ is the share of n-grams of all hypotheses that occur in a reference: see `clipped_matches`.
    c is the length of all hypotheses, and r that of the references closest to each in length (of
    two, the shorter).  There is no smoothing: the score is 0 if some pₙ is.
    """
    check_references(hypotheses, references)
    matched, total, c, r = Counter(), Counter(), 0, 0
    for hypothesis, texts in zip(hypotheses, references):
        tokens, others = words(hypothesis), list(map(words, texts))
        c += len(tokens)
        r += min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]
        for n in range(1, 5):
            right, found = clipped_matches(tokens, others, n)
            matched[n] += right
            total[n] += found
    if not all(matched[n] for n in range(1, 5)):
        return 0.0
    return exp(min(0, 1 - r / c) + sum(log(matched[n] / total[n]) for n in range(1, 5)) / 4)


def rouge_n(hypotheses: list, references: list, n: int) -> float:
    """Return the mean F1 of the n-grams of a text and its reference        Lin 2004, §2

    Of several references, the one with the highest F1 counts.  Words are sequences of letters and
    digits, in lower case, and not stemmed.
    """

    def score(hypothesis, reference):
        h, r = (ngrams(rouge_words(text), n) for text in (hypothesis, reference))
        return f1((h & r).total(), h.total(), r.total(), empty=0.0)

    return mean_of_best(score, hypotheses, references)


def rouge_l(hypotheses: list, references: list) -> float:
    """Return the mean F1 of the longest common subsequence of the words        Lin 2004, §3.1

    The subsequence is of whole texts, not of sentences (ROUGE-Lsum).  References and words: see
    `rouge_n`.
    """

    def score(hypothesis, reference):
        h, r = rouge_words(hypothesis), rouge_words(reference)
        return f1(longest_common_subsequence(h, r), len(h), len(r), empty=0.0)

    return mean_of_best(score, hypotheses, references)


def rouge_words(text: str) -> list:
    """Return the words of a text in small letters, without punctuation."""
    return re.findall(r"[^\W_]+", text.lower())


def longest_common_subsequence(a: list, b: list) -> int:
    """Return the length of the longest sequence that a and b both have, perhaps with gaps."""
    row = [0] * (len(b) + 1)  # row[j]: of the words of a so far and the first j of b
    for x in a:
        above, row = row, [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else max(above[j + 1], row[j]))
    return row[-1]


def mean_of_best(score: Callable, predictions: list, references: list) -> float:
    """Return the mean over predictions of the highest score with a reference."""
    check_references(predictions, references)
    best = [max(score(p, r) for r in texts) for p, texts in zip(predictions, references)]
    return sum(best) / len(best)


def check_references(predictions, references):
    """Raise ValueError unless there is a list of references for each prediction."""
    check_lengths(predictions, references)
    for i, texts in enumerate(references):
        if isinstance(texts, str) or not len(texts):
            raise ValueError(
                f"the references of text {i} are {texts!r}: give a list of at least one text"
            )
