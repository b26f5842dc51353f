"""Splits of a task's examples: to train on, to choose hyperparameters by, and to test on."""

from collections import defaultdict
from collections.abc import Callable
from math import ceil

import numpy as np

from .files import DataError
from .words import count


def generate_splits(
    example: Callable, seed: int = 0, train: int = 2000, dev: int = 500, test: int = 1000
) -> dict[str, list]:
    """Return {split: [(text, label), ...]} of generated examples, with no text in two splits.

    example(rng, i, ood) draws the i-th example of a split; "ood" is as long as "test".  The other
    splits do not depend on `train`, and a smaller `train` is the beginning of a larger one.
    """
    rng, texts = np.random.default_rng(seed), set()

    def generate(count, ood=False):
        examples = []
        while len(examples) < count:
            text, label = example(rng, len(examples), ood)
            if text not in texts:
                texts.add(text)
                examples.append((text, label))
        return examples

    return {
        "test": generate(test),
        "ood": generate(test, ood=True),
        "dev": generate(dev),
        "train": generate(train),
    }


def split(examples: list, rng, stratified: bool = True, **shares: float) -> dict[str, list]:
    """Return "train" and other splits of examples, shuffled: split(examples, rng, dev=0.1).

    shares: of each split, the part of the examples of each label, rounded up.  Of each label an
    example stays in "train", the only one if there is no other.
    stratified: whether examples are (text, label); if not, all count as of one label.
    Raises DataError for fewer than 20 examples, and if a split would be empty.
    """
    if len(examples) < 20:
        raise DataError(f"{count(len(examples), 'example')}, too few: give at least 20")
    by_label, splits = defaultdict(list), {name: [] for name in ("train", *shares)}
    for i in rng.permutation(len(examples)):
        by_label[examples[i][1] if stratified else None].append(examples[i])
    for group in by_label.values():
        rest, total = group, len(group)
        for name, share in sorted(shares.items(), key=lambda item: -item[1]):
            taken = min(len(rest) - 1, ceil(round(share * total, 9)))
            splits[name] += rest[:taken]
            rest = rest[taken:]
        splits["train"] += rest
    if empty := [name for name in shares if not splits[name]]:
        raise DataError(
            f"no label has enough examples for {', '.join(empty)} beside training: give at least "
            f"{len(shares) + 1} of a label"
        )
    return splits
