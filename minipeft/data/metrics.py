"""Metrics of predicted classes and tags, and intervals of metrics."""

from collections import Counter
from collections.abc import Callable
from math import sqrt

import numpy as np

from .words import count


def accuracy(predictions: list, labels: list) -> float:
    """Return the share of predictions that equal their label; of first answers, this is P@1."""
    check_lengths(predictions, labels)
    return sum(p == t for p, t in zip(predictions, labels)) / len(labels)


def f1(common: int, predicted: int, true: int, empty: float = 1.0) -> float:
    """2 P R / (P + R) = 2 common / (predicted + true),  P = common/predicted, R = common/true

    Return `empty` if nothing is predicted and nothing true.
    """
    return 2 * common / (predicted + true) if predicted + true else empty


def macro_f1(predictions: list, labels: list) -> float:
    """Return the mean of the F1 of each class that is predicted or true."""
    check_lengths(predictions, labels)
    right = Counter(p for p, t in zip(predictions, labels) if p == t)
    predicted, true = Counter(predictions), Counter(labels)
    classes = predicted | true
    return sum(f1(right[c], predicted[c], true[c]) for c in classes) / len(classes)


def matthews_correlation(predictions: list, labels: list) -> float:
    """(c s - Σ p_k t_k) / √((s² - Σ p_k²) (s² - Σ t_k²))        Gorodkin 2004

    c of s predictions are right; class k is predicted p_k times and true t_k times.  With two
    classes this is the coefficient of Matthews 1975.  It is 0 if all predictions or all labels are
    equal.
    """
    check_lengths(predictions, labels)
    s, c = len(labels), sum(p == t for p, t in zip(predictions, labels))
    p, t = Counter(predictions), Counter(labels)
    products = lambda a, b: sum(a[k] * b[k] for k in a)
    scale = (s**2 - products(p, p)) * (s**2 - products(t, t))
    return (c * s - products(p, t)) / sqrt(scale) if scale else 0.0


def bootstrap(
    metric: Callable, *columns: list, rng: np.random.Generator, draws: int = 1000
) -> tuple[float, float]:
    """Return the 95 % interval of metric(*columns) over examples drawn with replacement.

    Each column has one entry for each example, such as a prediction or a label.  The interval is of
    percentiles: Efron 1979.  Two systems are compared on the same draws, paired: Koehn 2004.

        gain = lambda a, b, labels: accuracy(a, labels) - accuracy(b, labels)
        bootstrap(gain, predictions, predictions_of_another, labels, rng=rng)
    """
    if not columns or draws < 1:
        raise ValueError("bootstrap needs a column of examples, and draws of at least 1")
    for column in columns:
        check_lengths(column, columns[-1])
    n = len(columns[-1])
    values = [
        metric(*([column[i] for i in chosen] for column in columns))
        for chosen in rng.integers(0, n, (draws, n))
    ]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


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
    sizes = np.zeros(3, int)  # of entities that are right, predicted, true
    for tags, true_tags in zip(predictions, labels):
        check_lengths(tags, true_tags)
        predicted, true = spans(tags), spans(true_tags)
        sizes += len(predicted & true), len(predicted), len(true)
    return f1(*sizes.tolist())


def check_lengths(predictions, labels):
    """Raise ValueError unless there is one prediction for each label."""
    if len(predictions) != len(labels) or not len(labels):
        raise ValueError(
            f"got {count(len(predictions), 'prediction')} for {count(len(labels), 'label')}: give "
            "one prediction for each label"
        )
