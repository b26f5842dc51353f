"""Splits of a task's examples: to train on, to choose hyperparameters by, and to test on."""

from collections.abc import Callable

import numpy as np

from .files import DataError


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


def split(examples: list, rng) -> dict[str, list]:
    """Return a user's examples, shuffled, as 70 % "train", 10 % "dev" and 20 % "test"."""
    if len(examples) < 20:
        raise DataError(
            f"{len(examples)} examples are too few for training, dev and test: give at least 20"
        )
    order = [examples[i] for i in rng.permutation(len(examples))]
    a, b = int(0.7 * len(order)), int(0.8 * len(order))
    return {"train": order[:a], "dev": order[a:b], "test": order[b:]}
