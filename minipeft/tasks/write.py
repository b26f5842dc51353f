"""Generation: texts that continue a given text, for one user or for many."""

from collections import Counter

import numpy as np

from ..adaptation.method import PLAIN, stack
from ..data.batches import pad
from ..data.files import DataError
from ..data.metrics import accuracy, bleu
from ..methods import METHODS, Probe
from ..methods.template import IGNORED
from ..model.generate import generate
from ..world.vocabulary import END
from .base import Task


class Write(Task):
    """Continue a text.  Examples: (text, [reference continuation, ...])."""

    methods = tuple(name for name, method in METHODS.items() if method is not Probe)
    metrics = {"BLEU": bleu}

    def __init__(self, name, splits, base, tokenizer, ceiling=None):
        if not base.causal:
            raise DataError(f"the task {name} generates text, so its base must be a decoder")
        self.end = tokenizer.token_to_id(END)
        train = [(text, [ref]) for text, references in splits["train"] for ref in references]
        super().__init__(name, splits | {"train": train}, base, tokenizer, ceiling)

    def fit_labels(self, labels):
        self.most_frequent = Counter(first for first, *_ in labels).most_common(1)[0][0]

    def network_for(self, base):
        return base

    def encode_label(self, encoding, references):
        return [*self.tokenizer.encode(references[0]).ids, self.end]

    def attach(self, method, rng):
        return method.attach(self.network, rng)

    def collate(self, examples, adaptation=PLAIN):
        """Return a batch in which each text is followed by its continuation, which has labels."""
        layout, rows = self.layout(adaptation), []
        for ids, continuation, _ in examples:
            ids = layout(ids)
            rows.append((ids + continuation, [IGNORED] * len(ids) + continuation, None))
        return super().collate(rows)

    def predict_batch(self, examples, adaptation):
        layout = self.layout(adaptation)
        ids, mask = pad([layout(ids) for ids, _, _ in examples])
        longest = max(len(continuation) for _, continuation, _ in examples) + 8
        new = generate(
            self.network, ids, adaptation, mask=mask, max_new_tokens=longest, eos=self.end
        )
        return [self.tokenizer.decode(row.tolist()) for row in new]

    def constant_prediction(self, references):
        return self.most_frequent


def exact_match(predictions: list, references: list) -> float:
    """Return the share of predictions that equal the one reference."""
    return accuracy(predictions, [reference for (reference,) in references])


class Imitate(Write):
    """Continue a text as one of many users would; example i of a split is of user i % users."""

    methods = tuple(name for name in Write.methods if name != "full")  # one base for each user
    metrics = {"accuracy": exact_match}
    users = 100

    def attach(self, method, rng):
        """Return a bank with one adaptation for each user."""
        return stack([super(Imitate, self).attach(method, rng) for _ in range(self.users)])

    def batch_size(self, size):
        return self.users

    def sample(self, rows, size, rng):
        """Yield lists of rows, one row of each user, in the order of the users."""
        while True:
            turns = rng.integers(0, len(rows) // self.users, self.users)
            yield [rows[i] for i in turns * self.users + np.arange(self.users)]

    def select(self, adaptation, indices):
        return adaptation.of(np.array(indices) % self.users)
