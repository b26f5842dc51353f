"""Classification of texts, and of pairs of texts."""

from collections import Counter
from functools import cached_property

import numpy as np

from ..autograd.backend import host
from ..data.files import DataError
from ..methods import Probe
from ..methods.template import IGNORED
from ..model.heads import Classifier
from ..training.parallel import map_batches
from .base import Task


def classifier(base, classes: int, bias: bool = False) -> Classifier:
    """Return a classifier over a decoder's last token, an encoder's [CLS], or the mean state."""
    pool = "last" if base.causal else "cls" if hasattr(base, "pooler") else "mean"
    return Classifier(base, classes, pool, bias)


class Classify(Task):
    """Predict the class of each text, or pair of texts.  Examples: (text, class).

    classes: what the outputs of the head of `base`, a Classifier, mean: the head is kept.
    None: the classes are those of the training examples, and the head is new.
    """

    def __init__(self, *args, classes: list | None = None, **options):
        self.head_classes = classes
        super().__init__(*args, **options)

    def fit_labels(self, labels):
        counts = Counter(labels)
        self.classes = self.head_classes or sorted(counts)
        self.most_frequent = max(counts, key=counts.get, default=None)
        if len(self.classes) < 2:
            raise DataError(
                f"{self.name}: every example has the label {self.most_frequent!r}; a classifier "
                "needs at least two labels"
            )

    def network_for(self, base):
        if self.head_classes and isinstance(base, Classifier):
            return base
        return classifier(base, len(self.classes))

    def encode_label(self, encoding, label):
        if label is None:  # of a text whose class is only predicted
            return IGNORED
        if label not in self.classes:
            split = next((s for s in self.splits if label in self.labels(s)), "a split")
            raise DataError(
                f"{self.name}: the label {label!r} has no training example, and {split} has one; "
                "add examples of it, or remove them all"
            )
        return self.classes.index(label)

    def predict_batch(self, examples, adaptation):
        ids, _, mask, token_types = self.collate(examples, adaptation)
        logits = self.network(ids, adaptation, mask=mask, token_types=token_types)
        return [self.classes[c] for c in host(logits.data.argmax(-1))]

    def constant_prediction(self, label):
        return self.most_frequent

    def model_and_batches(self, adaptation, size, rng):
        """Return, for a probe, the head alone and batches of features, computed once."""
        if not isinstance(adaptation.method, Probe):
            return super().model_and_batches(adaptation, size, rng)
        head = self.network.features_head(self.network.score, self.base.config)
        zeros = np.zeros(self.base.config.width, self.base.dtype)
        batches = self.sample(self.features, size, rng)
        return head, (self.collate(examples, filler=zeros) for examples in batches)

    @cached_property
    def features(self) -> list[tuple]:
        """The training examples with features in place of ids: (T, D), or (1, D) of a text."""
        examples = self.examples["train"]

        def features(indices):
            ids, _, mask, token_types = self.collate([examples[i] for i in indices])
            return host(self.network.features(ids, mask=mask, token_types=token_types)[0].data)

        rows = map_batches(features, [ids for ids, *_ in examples])
        return [(row[: len(ids)], label, None) for row, (ids, label, _) in zip(rows, examples)]
