"""What a frozen base is adapted to: texts to classify, words to tag, texts to write."""

from collections import Counter
from functools import partial

import numpy as np

from ..adaptation.method import PLAIN, stack
from ..data.batches import pad
from ..data.files import DataError
from ..data.metrics import accuracy, bleu
from ..methods import METHODS, Probe
from ..methods.template import NONE
from ..model.generate import generate
from ..world.vocabulary import END
from .base import Task


class Write(Task):
    """What comes after a text: (given, [wanted, ...]), each of these being right."""

    methods = tuple(name for name, kind in METHODS.items() if kind is not Probe)
    metrics = {"BLEU": bleu}

    def __init__(self, name, splits, base, tokenizer, ceiling=None):
        if not base.causal:
            raise DataError(f"{name} is to be written, and only a decoder writes")
        self.end = tokenizer.token_to_id(END)
        train = [(given, [wanted]) for given, all in splits["train"] for wanted in all]
        super().__init__(name, splits | {"train": train}, base, tokenizer, ceiling)

    def learn_answers(self, true):
        self.commonest = Counter(first for first, *_ in true).most_common(1)[0][0]

    def head(self, base):
        return base

    def label(self, code, wanted):
        return [*self.tokenizer.encode(wanted[0]).ids, self.end]

    def attach(self, make, rng):
        return make().attach(self.network, rng)

    def batch(self, examples, adaptation=PLAIN):
        layout, rows = self.layout(adaptation), []
        for given, wanted, _ in examples:
            given = layout(given)
            rows.append((given + wanted, [NONE] * len(given) + wanted, None))
        return super().batch(rows)

    def says(self, examples, adaptation):
        layout = self.layout(adaptation)
        ids, mask = pad([layout(given) for given, _, _ in examples])
        most = max(len(wanted) for _, wanted, _ in examples) + 8
        new = generate(self.network, ids, adaptation, mask=mask, max_new_tokens=most, eos=self.end)
        return [self.tokenizer.decode(row.tolist()) for row in new]

    def common(self, wanted):
        return self.commonest


class Imitate(Write):
    """What each of many users would write next; example i is by user i % users."""

    methods = tuple(name for name in Write.methods if name != "full")  # that many copies of a base
    metrics = {"accuracy": lambda said, true: accuracy(said, [wanted for (wanted,) in true])}
    users = 100

    def attach(self, make, rng):
        """An adaptation each, in one bank."""
        return stack([super(Imitate, self).attach(make, rng) for _ in range(self.users)])

    def rows(self, size):
        return self.users

    def training(self, adaptation, size, rng):
        """A batch has a row of each user, in their order."""
        batch = partial(self.batch, adaptation=adaptation)
        return self.network, map(batch, self.rounds(self.examples["train"], rng))

    def rounds(self, examples, rng):
        while True:
            drawn = rng.integers(0, len(examples) // self.users, self.users)
            yield [examples[i] for i in drawn * self.users + np.arange(self.users)]

    def of(self, adaptation, part):
        return adaptation.of(np.array(part) % self.users)
