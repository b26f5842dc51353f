"""How good an answer is: the share that is right, the entities it found, the words it shares."""

import re
from collections import Counter
from math import exp, log


def accuracy(predicted: list, true: list) -> float:
    """The share of answers that are the true ones."""
    one_for_each(predicted, true)
    return sum(p == t for p, t in zip(predicted, true)) / len(true)


def spans(tags: list) -> set:
    """{(start, end, type)} of the entities in BIO tags; an I- that continues nothing begins one.

    So reads CoNLL's scorer (Tjong Kim Sang & De Meulder 2003).  Any other tag is outside.
    """
    found, start, kind = set(), 0, None
    for i, tag in enumerate([*tags, "O"]):
        continues = kind is not None and tag == f"I-{kind}"
        if kind is not None and not continues:
            found.add((start, i, kind))
        if not continues:
            start, kind = i, tag[2:] if tag[:2] in ("B-", "I-") else None
    return found


def span_f1(predicted: list, true: list) -> float:
    """2 P R / (P + R) of the exact entities of all sequences of tags together (micro-averaged).

    Where there is none and none was predicted, all is right: 1.
    """
    one_for_each(predicted, true)
    right = wrong = 0
    for p, t in zip(predicted, true):
        one_for_each(p, t)
        right += len(spans(p) & spans(t))
        wrong += len(spans(p) ^ spans(t))
    return 2 * right / (2 * right + wrong) if right + wrong else 1.0


def words(text: str) -> list:
    """Split at spaces, punctuation apart."""
    return re.findall(r"\w+|[^\w\s]", text)


def ngrams(tokens: list, n: int) -> Counter:
    return Counter(zip(*(tokens[i:] for i in range(n))))


def bleu(hypotheses: list, references: list) -> float:
    """exp(min(0, 1 - r/c) + Σₙ log pₙ / 4), n = 1…4        Papineni et al. 2002, §2.3

    `references` has a list of texts for each hypothesis.  pₙ is the share of n-grams of all
    hypotheses that a reference has, each at most as often as it has it; c is the length of all
    hypotheses and r that of the references closest to each in length (of two, the shorter).
    Nothing is smoothed: 0 if some pₙ is.
    """
    one_for_each(hypotheses, references)
    right, count, c, r = Counter(), Counter(), 0, 0
    for text, wanted in zip(hypotheses, references):
        h, others = words(text), list(map(words, wanted))
        c += len(h)
        r += min((abs(len(o) - len(h)), len(o)) for o in others)[1]
        for n in range(1, 5):
            most = Counter()
            for o in others:
                most |= ngrams(o, n)
            right[n] += (ngrams(h, n) & most).total()
            count[n] += ngrams(h, n).total()
    if not all(right[n] for n in range(1, 5)):
        return 0.0
    return exp(min(0, 1 - r / c) + sum(log(right[n] / count[n]) for n in range(1, 5)) / 4)


def one_for_each(predicted, true):
    if len(predicted) != len(true) or not len(true):
        raise ValueError(
            f"{len(predicted)} predictions for {len(true)} true ones: give one for each"
        )
