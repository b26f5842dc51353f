"""What a frozen base is adapted to: texts to classify, words to tag, texts to write."""

from collections import Counter
from functools import cached_property, partial
from itertools import chain

import numpy as np
from tokenizers import Tokenizer

from .adapt import PLAIN, stack
from .backend import host
from .data import DataError, pad, shuffled
from .generate import generate
from .heads import Classifier, TokenClassifier
from .methods import METHODS, Probe
from .metrics import accuracy, bleu, span_f1
from .mixture import Chain
from .nn import but
from .parallel import Pool
from .template import NONE, Layout
from .tensor import no_grad
from .world import nli, sentiment, style, table, tags, topic
from .world.vocabulary import END

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


def answers(says, rows, size=64, each=iter):
    """says(part) for indices `part` of rows of about one length, in threads; in the rows' order.

    each: goes through the parts as they are done, and may show it.
    """
    order, found = sorted(range(len(rows)), key=lambda i: len(rows[i])), {}
    parts, pool = [order[at : at + size] for at in range(0, len(order), size)], Pool()

    def some(part):
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):  # scored as it is
            return zip(part, says(part), strict=True)

    with pool.alone():
        for answered in each(pool.map(some, parts)):
            found |= answered
    return [found[i] for i in range(len(rows))]


def classifier(base, classes):
    """A head for texts: over the last token of a decoder, or [CLS] of an encoder."""
    reads_both_ways = "cls" if hasattr(base, "pooler") else "mean"
    return Classifier(base, classes, pool="last" if base.causal else reads_both_ways)


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
        other = but(self, base=base, network=self.head(base))
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
        adapt = make().attach(self.network, rng)
        return adapt if adapt.adapts("score") else Chain(adapt, Probe().attach(self.network))

    def training(self, adapt, size, rng):
        """The model that `adapt` is trained on, and endless batches for a Trainer."""
        batch = partial(self.batch, adapt=adapt)
        return self.network, map(batch, self.drawn(self.examples["train"], size, rng))

    def drawn(self, rows, size, rng):
        """Endless lists of `size` rows, one for each training text, of about one length."""
        lengths = [len(ids) for ids, *_ in self.examples["train"]]
        for part in shuffled(range(len(rows)), size, rng, lengths.__getitem__):
            yield [rows[i] for i in part]

    def layout(self, adapt):
        return Layout(adapt.template, self.tokenizer, self.base)

    def batch(self, examples, adapt=PLAIN, filler=0):
        """(ids, labels, mask, types), laid out; or features in place of ids, with a filler (D,)."""
        layout, (ids, labels, types) = self.layout(adapt), zip(*examples)
        ids, mask = pad([layout(row) for row in ids], filler)
        if isinstance(labels[0], list):
            labels = pad([layout(row, NONE) for row in labels], NONE)[0]
        if types[0] is not None:
            types = pad([layout(row, 0) for row in types])[0]
        return ids, np.array(labels), mask, None if types[0] is None else types

    # -- scoring

    def said(self, adapt, split, size=64):
        """What the adapted network says of each example of a split."""
        examples = self.examples[split]
        says = lambda part: self.says([examples[i] for i in part], self.of(adapt, part))
        return answers(says, [ids for ids, *_ in examples], size)

    def of(self, adapt, part):
        """The adaptation as these examples need it."""
        return adapt

    def scores(self, adapt, split):
        """{metric: from 0 to 1}"""
        return self.measured(self.said(adapt, split), split)

    def majority(self, split):
        """Scores of always saying what is right most often in training."""
        return self.measured([self.common(true) for true in self.true(split)], split)

    def measured(self, said, split):
        return {name: metric(said, self.true(split)) for name, metric in self.metrics.items()}


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

    def says(self, examples, adapt):
        ids, _, mask, types = self.batch(examples, adapt)
        best = host(self.network(ids, adapt, mask, types=types).data.argmax(-1))
        return [self.classes[c] for c in best]

    def common(self, true):
        return self.commonest

    def training(self, adapt, size, rng):
        """Below its head a probe changes nothing: that part runs once, for all its trainings."""
        if not isinstance(adapt, Probe):
            return super().training(adapt, size, rng)
        head = self.network.alone(self.network.score, self.base.config)
        zeros = np.zeros(self.base.config.width, self.base.dtype)
        drawn = self.drawn(self.features, size, rng)
        return head, (self.batch(xs, filler=zeros) for xs in drawn)

    @cached_property
    def features(self):
        """The training examples with features in place of ids: (T, D), or (1, D) of a text."""
        examples = self.examples["train"]

        def read(part):
            ids, _, mask, types = self.batch([examples[i] for i in part])
            return host(self.network.features(ids, mask=mask, types=types)[0].data)

        rows = answers(read, [ids for ids, *_ in examples])
        return [(row[: len(ids)], label, None) for row, (ids, label, _) in zip(rows, examples)]


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

    def says(self, examples, adapt):
        ids, labels, mask, types = self.batch(examples, adapt)
        best = host(self.network(ids, adapt, mask, types=types).data.argmax(-1))
        return [[self.classes[c] for c in row[own >= 0]] for row, own in zip(best, labels)]

    def common(self, tags):
        return [self.commonest] * len(tags)


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

    def batch(self, examples, adapt=PLAIN):
        layout, rows = self.layout(adapt), []
        for given, wanted, _ in examples:
            given = layout(given)
            rows.append((given + wanted, [NONE] * len(given) + wanted, None))
        return super().batch(rows)

    def says(self, examples, adapt):
        layout = self.layout(adapt)
        ids, mask = pad([layout(given) for given, _, _ in examples])
        most = max(len(wanted) for _, wanted, _ in examples) + 8
        new = generate(self.network, ids, adapt, mask, max_new_tokens=most, eos=self.end)
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

    def training(self, adapt, size, rng):
        """A batch has a row of each user, in their order."""
        batch = partial(self.batch, adapt=adapt)
        return self.network, map(batch, self.rounds(self.examples["train"], rng))

    def rounds(self, examples, rng):
        while True:
            drawn = rng.integers(0, len(examples) // self.users, self.users)
            yield [examples[i] for i in drawn * self.users + np.arange(self.users)]

    def of(self, adapt, part):
        return adapt.of(np.array(part) % self.users)


TASKS = {
    "sentiment": (Classify, sentiment),
    "nli": (Classify, nli),
    "table": (Write, table),
    "topic": (Classify, topic),
    "tags": (Tag, tags),
    "style": (Imitate, style),
}


def built_in(name, base, tokenizer):
    """One of the world's own tasks."""
    kind, data = TASKS[name]
    splits, best = data.splits(), getattr(data, "ceiling", lambda pairs: 1.0)
    ceiling = {test: best(splits[test]) for test in ("test", "ood")}
    return kind(name, splits, base, tokenizer, ceiling)


def parts(examples, rng):
    """A user's own examples as train, dev and test: 70, 10 and 20 of a hundred."""
    if len(examples) < 20:
        raise DataError(
            f"{len(examples)} examples are too few to train, choose and test on: bring 20"
        )
    order = [examples[i] for i in rng.permutation(len(examples))]
    a, b = int(0.7 * len(order)), int(0.8 * len(order))
    return {"train": order[:a], "dev": order[a:b], "test": order[b:]}
