"""What a mutant of the library is, and those of metrics and prompting: see test_mutants.py."""

import dataclasses

import numpy as np

from minipeft.autograd.nn import replace
from minipeft.data import metrics, text_metrics
from minipeft.model import ensemble
from minipeft.prompting import calibration, mining, slots, tfew
from minipeft.prompting.autoprompt import first_order
from minipeft.prompting.classifier import PromptClassifier
from minipeft.prompting.verbalizer import Verbalizer


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


def mean_of_logs(prompted, adaptation=None):
    texts = [dict.fromkeys(prompted.template.names, text) for text in calibration.CONTENT_FREE]
    return prompted.log_probabilities(texts, adaptation).mean(0)


def reversed_examples(self, examples, *args, classify=PromptClassifier.with_examples, **options):
    return classify(self, [*examples][::-1], *args, **options)


def of_first_tokens(self, V):
    A = np.zeros((V, len(self.words)))
    A[[ids[0] for ids in self.words], range(len(self.words))] = 1
    return A


def normalized(self, rows, adaptation, rng=None, scores=PromptClassifier.scores):
    means = dataclasses.replace(self.verbalizer, tokens="normalized")
    return scores(replace(self, verbalizer=means), rows, adaptation, rng)


def without_epsilon(log_p, real, epsilon=0.0, loss=tfew.unlikelihood_loss):
    return loss(log_p, real, 0.0)


MIXING = "minipeft.equations.instructions.mixing_rates", "minipeft.prompting.mixture.mixing_rates"
PROMPTING = {
    "what follows the slot is not scored": mutant(
        "VB-1", lambda self, rows: True, (slots.DecoderSlot, "is_last")
    ),
    "the mean of the probabilities": mutant(
        "VB-2",
        property(lambda self, M=Verbalizer.membership.fget: M(self) / M(self).sum(0)),
        (Verbalizer, "membership"),
    ),
    "the mean of the logarithms": mutant(
        "VB-3", mean_of_logs, "minipeft.equations.prompting.content_free"
    ),
    "no domain": mutant(
        "VB-4",
        lambda prompted, text="", γ=None, domain=calibration.domain: domain(prompted, "", γ),
        "minipeft.equations.prompting.domain",
    ),
    "the first token in place of the mean": mutant(
        "VB-5", of_first_tokens, (PromptClassifier, "token_weights")
    ),
    "examples reversed": mutant("IC-1", reversed_examples, (PromptClassifier, "with_examples")),
    "a plain mean": mutant(
        "EN-1",
        lambda p, weights=None: ensemble.mean_probability(p),
        "minipeft.equations.prompting.mean_probability",
    ),
    "an ascent": mutant(
        "DS-1", lambda h, g, E: -first_order(h, g, E), "minipeft.equations.search.first_order"
    ),
    "without the current word": mutant(
        "DS-1", lambda h, g, E: -g @ E.T, "minipeft.equations.search.first_order"
    ),
    "across the ends of sentences": mutant("DS-2", "#", (mining, "ENDS")),
    "no limit": mutant("MT-1 MT-2", lambda e, K: e / np.sum(e), *MIXING),
    "all tasks equally often": mutant(
        "MT-1 MT-2", lambda e, K: np.full(len(e), 1 / len(e)), *MIXING
    ),
    "log p per token": mutant("MT-3", normalized, (PromptClassifier, "scores")),
    "no ε": mutant("MT-4", without_epsilon, (tfew, "unlikelihood_loss")),
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
