"""Tagging: a class for each word of a text."""

from itertools import chain, islice

import numpy as np

from ..autograd.backend import host
from ..data.files import DataError
from ..data.metrics import accuracy, span_f1
from ..methods.template import IGNORED
from ..model.heads import TokenClassifier
from .classify import Classify


def word_accuracy(predictions: list, labels: list) -> float:
    """Return the share of words with the right tag."""
    return accuracy(list(chain(*predictions)), list(chain(*labels)))


class Tag(Classify):
    """Predict a tag at the last token of each word.  Examples: (text, [(start, end, tag), ...])."""

    metrics = {"accuracy": word_accuracy, "F1": span_f1}

    def labels(self, split):
        return [[tag for _, _, tag in words] for _, words in self.splits[split]]

    def fit_labels(self, labels):
        super().fit_labels(list(chain(*labels)))

    def network_for(self, base):
        if self.pool:
            raise ValueError(f"{self.name}: a tagger reads every word, so it has no pool")
        return TokenClassifier(base, len(self.classes))

    def encode_label(self, encoding, words):
        labels = [IGNORED] * len(encoding.ids)
        for _, end, tag in words:
            if (at := encoding.char_to_token(end - 1)) is None:
                raise DataError(f"{self.name}: a text is longer than the model can read")
            labels[at] = super().encode_label(encoding, tag)
        return labels

    def predict_batch(self, examples, adaptation):
        ids, labels, mask, token_types = self.collate(examples, adaptation)
        logits = self.network(ids, adaptation, mask=mask, token_types=token_types)
        best = host(logits.data.argmax(-1))
        return [[self.classes[c] for c in row[label >= 0]] for row, label in zip(best, labels)]

    def head_inputs(self, h, labels):
        return [row[label >= 0] for row, label in zip(h, labels)]

    def targets(self, split):
        return np.array([y for _, labels, _ in self.examples[split] for y in labels if y >= 0])

    def named(self, logits, split):
        tags = iter([self.classes[c] for c in logits.argmax(1)])
        return [list(islice(tags, len(words))) for words in self.labels(split)]

    def constant_prediction(self, tags):
        return [self.most_frequent] * len(tags)
