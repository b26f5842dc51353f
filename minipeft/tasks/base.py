"""Tasks: examples, the network that learns them, and metrics."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from tokenizers import Tokenizer

from ..adaptation.adaptation import Adaptation
from ..adaptation.chain import Chain
from ..adaptation.method import PLAIN, Method
from ..autograd.nn import replace
from ..data.batches import pad, shuffled_batches
from ..data.metrics import accuracy
from ..methods import METHODS, FullFineTuning, Probe
from ..methods.template import IGNORED, Layout
from ..model.heads import has_pooler
from ..model.inputs import virtual_positions
from ..training.parallel import map_batches


def extra_positions(model, adaptation: Adaptation, layout: Layout) -> int:
    """Return how many positions the adaptation takes beside the tokens of a text.

    They are of its prompt, its prefix, if the positions of a text start after it, and its template.
    """
    return virtual_positions(model, adaptation) + len(layout([]))


class Task:
    """Examples for a frozen base model, the network that learns them, and metrics.

    splits: {"train": [(text, label), ...], "dev": ..., and any others, to test on}
    ceiling: {test split: the best score that can be reached}, where it is known

    A subclass defines `network_for`, `encode_label`, `predict_batch`, `fit_labels` and
    `constant_prediction`.
    """

    pool: str | None = None  # which hidden state of a text a new head reads
    methods = tuple(METHODS)  # methods that can learn the task
    # name: f(predictions, labels); the first one ranks methods
    metrics: dict[str, Callable] = {"accuracy": accuracy}

    def __init__(self, name: str, splits: dict, base, tokenizer, ceiling: dict | None = None):
        self.name, self.splits, self.ceiling = name, splits, ceiling or {}
        self.tests = [split for split in splits if split not in ("train", "dev")]
        self.tokenizer, self.base = Tokenizer.from_str(tokenizer.to_str()), base
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.fit_labels(self.labels("train"))
        self.network = self.network_for(base)
        texts = {split: self.encode(pairs) for split, pairs in splits.items()}
        self.lengths = [len(ids) for examples in texts.values() for ids, *_ in examples]
        self.encoded = {max(self.lengths): texts}  # by the length at which texts are truncated
        self.examples = self.examples_for(PLAIN)

    def with_base(self, base) -> "Task":
        """Return the same task for another base of the same configuration."""
        return replace(self, base=base, network=self.network_for(base))

    def labels(self, split: str) -> list:
        """Return the label of each example of a split."""
        return [label for _, label in self.splits.get(split, ())]

    # -- what a subclass defines

    def network_for(self, base):
        """Return the network that is adapted: the base, with a head if the task needs one."""
        raise NotImplementedError

    def fit_labels(self, labels: list) -> None:
        """Store what the training labels determine, such as the list of classes."""
        raise NotImplementedError

    def encode_label(self, encoding, label):
        """Return the label of a text, given its `tokenizers.Encoding`, as the loss takes it."""
        raise NotImplementedError

    def predict_batch(self, examples: list, adaptation: Adaptation) -> list:
        """Return the prediction of the adapted network for each of a few encoded examples."""
        raise NotImplementedError

    def constant_prediction(self, label):
        """Return the prediction, for an example with this label, that is most often right."""
        raise NotImplementedError

    # -- tokens

    def extra_positions(self, adaptation: Adaptation) -> int:
        """Return how many positions of the model the tokens of a text must leave free."""
        return extra_positions(self.network, adaptation, self.layout(adaptation))

    def room(self, adaptation: Adaptation) -> int:
        """Return how many tokens a text may have; raise ValueError if not even one is left."""
        extra, length = self.extra_positions(adaptation), self.base.config.length
        if length - extra <= self.tokenizer.num_special_tokens_to_add(is_pair=True):
            raise ValueError(
                f"{extra} positions are needed beside the text for {adaptation}, and the model "
                f"has {length}: none are left for a text"
            )
        return length - extra

    def examples_for(self, adaptation: Adaptation) -> dict[str, list[tuple]]:
        """Return {split: encoded examples}; texts are truncated if they leave too little room."""
        longest = min(max(self.lengths), self.room(adaptation))
        if longest not in self.encoded:
            texts = {split: self.encode(pairs, longest) for split, pairs in self.splits.items()}
            self.encoded[longest] = texts
        return self.encoded[longest]

    def truncated(self, adaptation: Adaptation = PLAIN) -> int:
        """Return how many texts are truncated for the adaptation."""
        room = self.room(adaptation)
        return sum(length > room for length in self.lengths)

    def encode(self, pairs: list, room: int | None = None) -> list[tuple]:
        """Return (ids, label, token types) of each (text, label); room: the most ids of a text."""
        if room:
            self.tokenizer.enable_truncation(room)  # an encoder's [SEP] is kept
        encodings = self.tokenizer.encode_batch([self.as_input(text) for text, _ in pairs])
        self.tokenizer.no_truncation()
        typed = self.base.config.token_types > 1
        return [
            (e.ids, self.encode_label(e, label), e.type_ids if typed else None)
            for e, (_, label) in zip(encodings, pairs)
        ]

    def as_input(self, text):
        """Return a text as it is, and a pair as one text for a decoder, two for an encoder."""
        if isinstance(text, str):
            return text
        first, second = text[0], f" {text[1]}"
        return first + second if self.base.causal else (first, second)

    # -- training

    def batch_size(self, size: int) -> int:
        """Return the batch size of the task if `size` is asked for."""
        return size

    def attach(self, method: Method, rng) -> Adaptation:
        """Return what is trained: the method, a new pooler, and a probe of the head.

        Of the pooler and the head, it has those that the method leaves out.
        """
        adaptation = method.attach(self.network, rng)
        if adaptation.adapts("score"):
            return adaptation
        parts = [adaptation]
        is_new = has_pooler(self.network) and not has_pooler(self.base)
        if is_new and not adaptation.adapts("pooler"):
            parts.append(FullFineTuning("^pooler$").attach(self.network))
        return Chain(*parts, Probe().attach(self.network))

    def choose_pool(self) -> dict[str, float] | None:
        """Choose the pool of a new head; return None where there is no choice: see Classify."""

    def start_head(self, adaptation: Adaptation) -> None:
        """Let a new head start at a better place than 0, if the task knows one."""

    def is_solved(self, method: Method) -> bool:
        """Return whether a method is solved, as a linear Probe, and not trained in steps."""
        return False

    def solve(self, adaptation: Adaptation) -> float:
        """Set a probe to the optimum; return its penalty."""
        raise NotImplementedError

    def solution(self):
        """Return the solved probe: see Classify."""
        raise NotImplementedError

    def model_and_batches(self, adaptation: Adaptation, size: int, rng) -> tuple:
        """Return a model with a loss, and an endless iterator of batches, for a Trainer."""
        collate = partial(self.collate, adaptation=adaptation)
        examples = self.examples_for(adaptation)["train"]
        return self.network, map(collate, self.sample(examples, size, rng))

    def sample(self, rows: list, size: int, rng) -> Iterator[list]:
        """Yield lists of `size` rows, one row for each training text, of similar text length."""
        lengths = [len(ids) for ids, *_ in self.examples["train"]]
        for indices in shuffled_batches(range(len(rows)), size, rng, lengths.__getitem__):
            yield [rows[i] for i in indices]

    def layout(self, adaptation: Adaptation) -> Layout:
        """Return the layout of a text in the adaptation's template."""
        return Layout(adaptation.template, self.tokenizer, self.base)

    def collate(self, examples: list, adaptation: Adaptation = PLAIN) -> tuple:
        """Return a batch (ids, labels, mask, token types) of encoded examples."""
        layout, (texts, labels, token_types) = self.layout(adaptation), zip(*examples)
        ids, mask = pad([layout(row) for row in texts])
        if isinstance(labels[0], list):  # a label for each token
            y, _ = pad([layout(row, IGNORED) for row in labels], IGNORED)
        else:
            y = np.array(labels)
        if token_types[0] is None:
            return ids, y, mask, None
        return ids, y, mask, pad([layout(row, 0) for row in token_types])[0]

    # -- evaluation

    def predict(
        self, adaptation: Adaptation, split: str, size: int = 64, progress: Callable = iter
    ) -> list:
        """Return the prediction of the adapted network for each example of a split.

        size: examples in a batch.  progress: see `map_batches`.
        """
        examples = self.examples_for(adaptation)[split]

        def predict(indices):
            batch = [examples[i] for i in indices]
            return self.predict_batch(batch, self.select(adaptation, indices))

        return map_batches(predict, [ids for ids, *_ in examples], size, progress)

    def select(self, adaptation: Adaptation, indices) -> Adaptation:
        """Return the adaptation for a batch of these examples of a split."""
        return adaptation

    def evaluate(self, adaptation: Adaptation, split: str) -> dict[str, float]:
        """Return {metric: value from 0 to 1} of the adapted network."""
        return self.compute_metrics(self.predict(adaptation, split), split)

    def majority(self, split: str) -> dict[str, float]:
        """Return the metrics of always predicting what is most frequent in training."""
        predictions = [self.constant_prediction(label) for label in self.labels(split)]
        return self.compute_metrics(predictions, split)

    def compute_metrics(self, predictions: list, split: str) -> dict[str, float]:
        """Return {metric: value} of these predictions."""
        labels = self.labels(split)
        return {name: metric(predictions, labels) for name, metric in self.metrics.items()}
