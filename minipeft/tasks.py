"""Texts with labels, made ready for a classifier."""

from dataclasses import dataclass

import numpy as np

from .backend import host
from .data import DataError, batches, pad
from .tensor import no_grad

ROOM = 32  # positions kept free for what stands before the text


@dataclass
class Task:
    """Splits of (token ids, class), the names of the classes, and how many texts were cut short."""

    name: str
    classes: list
    splits: dict
    shortened: int

    def majority(self, split):
        """The accuracy of the class that is most common in training."""
        common = np.bincount([label for _, label in self.splits["train"]]).argmax()
        return float(np.mean([label == common for _, label in self.splits[split]]))


def task(name, splits, tokenizer, length):
    """A Task from splits of (text, label); texts are cut to what the model can read."""
    if length <= ROOM:
        raise DataError(
            f"a model of {length} positions has none left: {ROOM} are for what is added"
        )
    classes = sorted({label for _, label in splits["train"]})
    number = {label: i for i, label in enumerate(classes)}
    if len(classes) < 2:
        raise DataError(f"{name}: every example has the label {classes[0]!r}; two are needed")
    shortened, ready = 0, {}
    for split, examples in splits.items():
        ready[split] = []
        codes = tokenizer.encode_batch([text for text, _ in examples])
        for (_, label), code in zip(examples, codes):
            if label not in number:
                raise DataError(f"{name}: label {label!r} in {split} is in no training example")
            shortened += len(code.ids) > length - ROOM
            ready[split].append((code.ids[: length - ROOM], number[label]))
    return Task(name, classes, ready, shortened)


def parts(examples, rng):
    """A user's own examples as train, dev and test: 70, 10 and 20 of a hundred."""
    if len(examples) < 20:
        raise DataError(
            f"{len(examples)} examples are too few to train, choose and test on: bring 20"
        )
    order = [examples[i] for i in rng.permutation(len(examples))]
    a, b = int(0.7 * len(order)), int(0.8 * len(order))
    return {"train": order[:a], "dev": order[a:b], "test": order[b:]}


def training(examples, size, rng):
    """Batches for a Trainer, from texts or from features."""
    collate = pad if isinstance(examples[0][0], list) else lambda xs: (np.stack(xs), None)
    return batches(examples, size, rng, collate)


def accuracy(model, adapt, examples, pool, size=64):
    """The share of texts whose likeliest class is the right one."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i][0]))

    def right(at):
        own, labels = zip(*[examples[i] for i in order[at : at + size]])
        ids, mask = pad(own)
        with no_grad():
            return (host(model(ids, adapt, mask).data.argmax(-1)) == labels).sum()

    with pool.alone():
        return float(sum(pool.map(right, range(0, len(order), size))) / len(order))


def features(model, examples, pool, size=64):
    """What the frozen trunk makes of the texts, once: (features (1, D), class) for each."""

    def own(at):
        ids, mask = pad([ids for ids, _ in examples[at : at + size]])
        with no_grad():
            return host(model.features(ids, mask=mask)[0].data)

    with pool.alone():
        rows = np.concatenate(list(pool.map(own, range(0, len(examples), size))))
    return [(row, label) for row, (_, label) in zip(rows, examples)]
