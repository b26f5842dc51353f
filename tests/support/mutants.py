"""What a mutant of the library is, and those of metrics and prompting: see test_mutants.py."""

import dataclasses

import numpy as np

from minipeft.data import metrics, text_metrics


@dataclasses.dataclass
class Mutant:
    noticed_by: str  # ids of equations
    mutated: object  # in place of each of `places`
    places: tuple  # paths | (class, name) | (dict, key)


def mutant(noticed_by, mutated, *places):
    return Mutant(noticed_by, mutated, places)


def mean_of_texts(hypotheses, references, bleu=text_metrics.bleu):
    return np.mean([bleu([h], [r]) for h, r in zip(hypotheses, references)])


def last_reference(score, predictions, references, mean_of_best=text_metrics.mean_of_best):
    return mean_of_best(score, predictions, [texts[-1:] for texts in references])


def f1_of_true_classes(predictions, labels):
    right = lambda k: sum(p == t == k for p, t in zip(predictions, labels))
    return np.mean([metrics.f1(right(k), predictions.count(k), labels.count(k)) for k in {*labels}])


def unpaired(metric, *columns, rng, draws, bootstrap=metrics.bootstrap):
    rolled = lambda a, *rest: metric(a, *(np.roll(x, 1) for x in columns[1:]))
    return bootstrap(rolled, *columns, rng=rng, draws=draws)


PROMPTING = {
    "BLEU as a mean over texts": mutant("ME-1", mean_of_texts, (text_metrics, "bleu")),
    "a common substring": mutant(
        "ME-2",
        lambda a, b: max(
            n for n in range(9) if not n or text_metrics.ngrams(a, n) & text_metrics.ngrams(b, n)
        ),
        (text_metrics, "longest_common_subsequence"),
    ),
    "one reference": mutant("ME-2 ME-3 ME-4", last_reference, (text_metrics, "mean_of_best")),
    "F1 of the true classes": mutant("ME-5", f1_of_true_classes, (metrics, "macro_f1")),
    "unpaired draws": mutant("ME-6", unpaired, (metrics, "bootstrap")),
}
