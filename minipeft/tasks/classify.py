"""What a frozen base is adapted to: texts to classify, words to tag, texts to write."""

from collections import Counter
from functools import cached_property

import numpy as np

from ..autograd.backend import host
from ..data.files import DataError
from ..methods import Probe
from ..model.heads import Classifier
from ..training.parallel import answers
from .base import Task


def classifier(base, classes):
    """A head for texts: over the last token of a decoder, or [CLS] of an encoder."""
    reads_both_ways = "cls" if hasattr(base, "pooler") else "mean"
    return Classifier(base, classes, pool="last" if base.causal else reads_both_ways)


class Classify(Task):
    """A class for each text, or pair of texts: (text, class)."""

    def learn_answers(self, true):
        self.classes = sorted(set(true))
        self.commonest = Counter(true).most_common(1)[0][0]
        if len(self.classes) < 2:
            raise DataError(f"{self.name}: every example is {self.commonest!r}; two are needed")

    def head(self, base):
        return classifier(base, len(self.classes))

    def label(self, code, true):
        if true not in self.classes:
            raise DataError(
                f"{self.name}: no example of {true!r} is left to train on; bring more, or none"
            )
        return self.classes.index(true)

    def says(self, examples, adaptation):
        ids, _, mask, token_types = self.batch(examples, adaptation)
        best = host(
            self.network(ids, adaptation, mask=mask, token_types=token_types).data.argmax(-1)
        )
        return [self.classes[c] for c in best]

    def common(self, true):
        return self.commonest

    def training(self, adaptation, size, rng):
        """Below its head a probe changes nothing: that part runs once, for all its trainings."""
        if not isinstance(adaptation, Probe):
            return super().training(adaptation, size, rng)
        head = self.network.features_head(self.network.score, self.base.config)
        zeros = np.zeros(self.base.config.width, self.base.dtype)
        drawn = self.drawn(self.features, size, rng)
        return head, (self.batch(xs, filler=zeros) for xs in drawn)

    @cached_property
    def features(self):
        """The training examples with features in place of ids: (T, D), or (1, D) of a text."""
        examples = self.examples["train"]

        def read(part):
            ids, _, mask, token_types = self.batch([examples[i] for i in part])
            return host(self.network.features(ids, mask=mask, token_types=token_types)[0].data)

        rows = answers(read, [ids for ids, *_ in examples])
        return [(row[: len(ids)], label, None) for row, (ids, label, _) in zip(rows, examples)]
