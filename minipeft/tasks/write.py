"""Generation: texts that continue a given text, for one user or for many."""

from collections import Counter

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN, stack
from ..data.batches import pad
from ..data.files import DataError
from ..data.text_metrics import bleu, exact_match
from ..methods import METHODS, Probe
from ..methods.segments import continuation
from ..methods.template import IGNORED
from ..model.generate import generate
from ..model.generation_config import GenerationConfig
from ..model.special_tokens import eos_ids
from ..model.transformer import Decoder
from ..training.parallel import map_batches
from .base import Task

MORE = 8  # tokens that a generated text may have more than the references


class Write(Task):
    """Continue a text.  Examples: (text, [reference continuation, ...])."""

    base_class: type = Decoder
    base_name = "a decoder"
    methods = tuple(name for name, method in METHODS.items() if method is not Probe)
    metrics = {"BLEU": bleu}

    def __init__(self, name, splits, base, tokenizer, ceiling=None):
        if not isinstance(base, self.base_class):
            raise DataError(f"the task {name} generates text, so its base must be {self.base_name}")
        if not (ends := eos_ids(base, tokenizer)):
            raise DataError("the model has no token that ends a text: eos_token_id in config.json")
        self.ends = ends
        train = [
            (text, [ref]) for text, references in splits.get("train", ()) for ref in references
        ]
        super().__init__(name, splits | {"train": train}, base, tokenizer, ceiling)

    def fit_labels(self, labels):
        counts = Counter(first for first, *_ in labels)
        self.most_frequent = max(counts, key=counts.get, default=None)

    def network_for(self, base):
        return base

    def encode_label(self, encoding, references):
        return [*continuation(self.tokenizer, references[0]), self.ends[0]]

    def extra_positions(self, adaptation):
        """Return how many positions the adaptation and the longest generated text take."""
        texts = next(iter(self.encoded.values()))
        longest = max(len(labels) for rows in texts.values() for _, labels, _ in rows)
        return super().extra_positions(adaptation) + longest + MORE - 1  # the last one is not read

    def attach(self, method, rng):
        return method.attach(self.network, rng)

    def collate(self, examples, adaptation=PLAIN):
        """Return a batch in which each text is followed by its continuation, which has labels."""
        layout, rows = self.layout(adaptation), []
        for ids, label, _ in examples:
            ids = layout(ids)
            rows.append((ids + label, [IGNORED] * len(ids) + label, None))
        return super().collate(rows)

    def loss(self, adaptation: Adaptation, split: str, size: int = 64) -> float:
        """Return the mean loss of the tokens of the first references of a split."""
        examples = self.examples_for(adaptation)[split]

        def losses(indices):
            ids, labels, mask, _ = self.collate([examples[i] for i in indices], adaptation)
            loss = self.network.loss(ids, labels, adaptation, mask=mask, count=1)
            return [float(loss) / len(indices)] * len(indices)

        total = sum(map_batches(losses, [ids for ids, *_ in examples], size))
        return total / sum(len(label) for _, label, _ in examples)

    def predict_batch(self, examples, adaptation):
        layout = self.layout(adaptation)
        ids, mask = pad([layout(ids) for ids, _, _ in examples])
        longest = max(len(label) for _, label, _ in examples) + MORE
        settings = GenerationConfig(max_new_tokens=longest, eos=self.ends)  # none of the folder's
        new = generate(self.network, ids, adaptation, mask=mask, **vars(settings))
        return [self.decode(text, row.tolist()) for (text, *_), row in zip(examples, new)]

    def decode(self, ids, new):
        """Return the text of new tokens after those of a text; Llama's first may begin a space."""
        return self.tokenizer.decode(ids + new)[len(self.tokenizer.decode(ids)) :]

    def constant_prediction(self, references):
        return self.most_frequent


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
