"""Metrics of predictions: accuracy and its interval, F1 of entities, BLEU."""

import re
from collections import Counter
from math import exp, log, sqrt

from .words import count


def accuracy(predictions: list, labels: list) -> float:
    """Return the share of predictions that equal their label."""
    check_lengths(predictions, labels)
    return sum(p == t for p, t in zip(predictions, labels)) / len(labels)


def wilson(right: int, total: int) -> tuple[float, float]:
    """(p + z²/2n ± z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n),  z = 1.96        Wilson 1927

    Return the 95 % interval of a share p = right / total of n = total independent examples.
    """
    if not 0 <= right <= total or not total:
        raise ValueError(f"right={right} must be from 0 to total={total}, and total above 0")
    p, c = right / total, 1.959964**2 / total
    center, half = p + c / 2, sqrt(c * (p * (1 - p) + c / 4))
    return (center - half) / (1 + c), (center + half) / (1 + c)


def spans(tags: list) -> set:
    """Return {(start, end, type)} of the entities in BIO tags; other tags are outside.

    An I- tag that continues no entity begins one, as in CoNLL's scorer: Tjong Kim Sang & De Meulder
    2003.
    """
    entities, start, kind = set(), 0, None
    for i, tag in enumerate([*tags, "O"]):
        continues = kind is not None and tag == f"I-{kind}"
        if kind is not None and not continues:
            entities.add((start, i, kind))
        if not continues:
            start, kind = i, tag[2:] if tag[:2] in ("B-", "I-") else None
    return entities


def span_f1(predictions: list, labels: list) -> float:
    """Return 2 P R / (P + R) of the entities in sequences of tags, micro-averaged.

    An entity is right if its start, end and type are.  The score is 1 if there is no entity and
    none was predicted.
    """
    check_lengths(predictions, labels)
    right = wrong = 0
    for predicted, true in zip(predictions, labels):
        check_lengths(predicted, true)
        right += len(spans(predicted) & spans(true))
        wrong += len(spans(predicted) ^ spans(true))
    return 2 * right / (2 * right + wrong) if right + wrong else 1.0


def words(text: str) -> list:
    """Return the words and the punctuation marks of a text."""
    return re.findall(r"\w+|[^\w\s]", text)


def ngrams(tokens: list, n: int) -> Counter:
    """Return how often each sequence of n tokens occurs."""
    return Counter(zip(*(tokens[i:] for i in range(n))))


def bleu(hypotheses: list, references: list) -> float:
    """exp(min(0, 1 - r/c) + Σₙ log pₙ / 4), n = 1…4        Papineni et al. 2002, §2.3

    `references` has a list of texts for each hypothesis.  pₙ is the share of n-grams of all
    hypotheses that occur in a reference; each counts at most as often as in the reference that has
    it most often.  c is the length of all hypotheses, and r that of the references closest to each
    in length (of two, the shorter).  There is no smoothing: the score is 0 if some pₙ is.
    """
    check_lengths(hypotheses, references)
    matched, total, c, r = Counter(), Counter(), 0, 0
    for hypothesis, texts in zip(hypotheses, references):
        tokens, others = words(hypothesis), list(map(words, texts))
        c += len(tokens)
        r += min((abs(len(other) - len(tokens)), len(other)) for other in others)[1]
        for n in range(1, 5):
            most = Counter()
            for other in others:
                most |= ngrams(other, n)
            matched[n] += (ngrams(tokens, n) & most).total()
            total[n] += ngrams(tokens, n).total()
    if not all(matched[n] for n in range(1, 5)):
        return 0.0
    return exp(min(0, 1 - r / c) + sum(log(matched[n] / total[n]) for n in range(1, 5)) / 4)


def check_lengths(predictions, labels):
    """Raise ValueError unless there is one prediction for each label."""
    if len(predictions) != len(labels) or not len(labels):
        raise ValueError(
            f"got {count(len(predictions), 'prediction')} for {count(len(labels), 'label')}: give "
            "one prediction for each label"
        )
