"""What a frozen base is adapted to: texts to classify, words to tag, texts to write."""

from itertools import chain

from ..autograd.backend import host
from ..data.metrics import accuracy, span_f1
from ..methods.template import NONE
from ..model.heads import TokenClassifier
from .classify import Classify


class Tag(Classify):
    """A tag for each word, said at its last token: (text, [(start, end, tag), ...])."""

    metrics = {
        "accuracy": lambda said, true: accuracy(list(chain(*said)), list(chain(*true))),
        "F1": span_f1,
    }

    def true(self, split):
        return [[tag for _, _, tag in spans] for _, spans in self.splits[split]]

    def learn_answers(self, true):
        super().learn_answers(list(chain(*true)))

    def head(self, base):
        return TokenClassifier(base, len(self.classes))

    def label(self, code, spans):
        labels = [NONE] * len(code.ids)
        for _, end, tag in spans:
            labels[code.char_to_token(end - 1)] = super().label(code, tag)
        return labels

    def says(self, examples, adaptation):
        ids, labels, mask, token_types = self.batch(examples, adaptation)
        best = host(
            self.network(ids, adaptation, mask=mask, token_types=token_types).data.argmax(-1)
        )
        return [[self.classes[c] for c in row[own >= 0]] for row, own in zip(best, labels)]

    def common(self, tags):
        return [self.commonest] * len(tags)
