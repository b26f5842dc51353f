"""What a frozen base is adapted to: texts to classify, words to tag, texts to write."""

from functools import partial

import numpy as np
from tokenizers import Tokenizer

from ..adaptation.chain import Chain
from ..adaptation.method import PLAIN
from ..autograd.nn import replace
from ..data.batches import pad, shuffled
from ..data.files import DataError
from ..data.metrics import accuracy
from ..methods import METHODS, Probe
from ..methods.template import NONE, Layout
from ..training.parallel import answers

ROOM = 32  # positions kept free for what stands before the text


def cutting(tokenizer, model):
    """The tokenizer, which cuts a text to what the model can read behind what is added."""
    room = model.config.length - ROOM
    if room < 1:
        raise DataError(
            f"a model of {room + ROOM} positions has none left: {ROOM} are for what is added"
        )
    own = Tokenizer.from_str(tokenizer.to_str())
    own.enable_truncation(room)  # [SEP] stays
    return own


class Task:
    """Examples for a frozen base, the network that learns them, and how well it does.

    splits: {"train": [(text, what is true of it), ...], "dev": ..., and those to test on}
    ceiling: {test: the best score there can be}, where it is known

    A kind of task has a `head` for the base, a `label` of each example in tokens, and says what a
    network that has learned it `says` of a batch.
    """

    methods = tuple(METHODS)  # those that can learn it
    metrics = {"accuracy": accuracy}  # {name: f(said, true)}; the first is the score

    def __init__(self, name, splits, base, tokenizer, ceiling=None):
        self.name, self.splits, self.ceiling = name, splits, ceiling or {}
        self.tests = [split for split in splits if split not in ("train", "dev")]
        self.tokenizer, self.base, self.shortened = cutting(tokenizer, base), base, 0
        self.learn_answers(self.true("train"))
        self.examples = {split: self.ready(pairs) for split, pairs in self.splits.items()}
        self.network = self.head(base)

    def on(self, base):
        """The same task for another base of the same configuration."""
        other = replace(self, base=base, network=self.head(base))
        vars(other).pop("features", None)  # those are of this base
        return other

    def true(self, split):
        return [true for _, true in self.splits[split]]

    # -- texts to tokens

    def ready(self, pairs):
        """[(ids, label, types)], the ids cut to what the base can read."""
        codes = self.tokenizer.encode_batch([self.joined(text) for text, _ in pairs])
        self.shortened += sum(bool(code.overflowing) for code in codes)
        return [
            (code.ids, self.label(code, true), None if self.base.causal else code.type_ids)
            for code, (_, true) in zip(codes, pairs)
        ]

    def joined(self, text):
        """A text; or a pair of them, which an encoder reads as two segments."""
        if isinstance(text, str):
            return text
        first, second = text[0], f" {text[1]}"
        return first + second if self.base.causal else (first, second)

    # -- training

    def rows(self, size):
        """How many a batch has where `size` are asked for."""
        return size

    def attach(self, make, rng):
        """What trains: a method, from make(), and beside it the head if it leaves that out."""
        adaptation = make().attach(self.network, rng)
        return (
            adaptation
            if adaptation.adapts("score")
            else Chain(adaptation, Probe().attach(self.network))
        )

    def training(self, adaptation, size, rng):
        """The model that `adapt` is trained on, and endless batches for a Trainer."""
        batch = partial(self.batch, adaptation=adaptation)
        return self.network, map(batch, self.drawn(self.examples["train"], size, rng))

    def drawn(self, rows, size, rng):
        """Endless lists of `size` rows, one for each training text, of about one length."""
        lengths = [len(ids) for ids, *_ in self.examples["train"]]
        for part in shuffled(range(len(rows)), size, rng, lengths.__getitem__):
            yield [rows[i] for i in part]

    def layout(self, adaptation):
        return Layout(adaptation.template, self.tokenizer, self.base)

    def batch(self, examples, adaptation=PLAIN, filler=0):
        """(ids, labels, mask, types), laid out; or features in place of ids, with a filler (D,)."""
        layout, (ids, labels, token_types) = self.layout(adaptation), zip(*examples)
        ids, mask = pad([layout(row) for row in ids], filler)
        if isinstance(labels[0], list):
            labels = pad([layout(row, NONE) for row in labels], NONE)[0]
        if token_types[0] is not None:
            token_types = pad([layout(row, 0) for row in token_types])[0]
        return ids, np.array(labels), mask, None if token_types[0] is None else token_types

    # -- scoring

    def said(self, adaptation, split, size=64):
        """What the adapted network says of each example of a split."""
        examples = self.examples[split]
        says = lambda part: self.says([examples[i] for i in part], self.of(adaptation, part))
        return answers(says, [ids for ids, *_ in examples], size)

    def of(self, adaptation, part):
        """The adaptation as these examples need it."""
        return adaptation

    def scores(self, adaptation, split):
        """{metric: from 0 to 1}"""
        return self.measured(self.said(adaptation, split), split)

    def majority(self, split):
        """Scores of always saying what is right most often in training."""
        return self.measured([self.common(true) for true in self.true(split)], split)

    def measured(self, said, split):
        return {name: metric(said, self.true(split)) for name, metric in self.metrics.items()}
