"""The parts of a task: to train on, to choose by, and to test on, with no text in two of them."""

import numpy as np

from .files import DataError


def generate_splits(
    example, seed: int = 0, train: int = 2000, dev: int = 500, test: int = 1000
) -> dict:
    """By name of the part, pairs (text, what is true of it); example(rng, i, ood) draws the i-th.

    "ood" has as many as "test".  Whatever `train` is, the others stay, and less is its beginning.
    """
    rng, seen = np.random.default_rng(seed), set()

    def part(count, ood=False):
        found = []
        while len(found) < count:
            new = example(rng, len(found), ood)
            if new[0] not in seen:
                seen.add(new[0])
                found.append(new)
        return found

    return {"test": part(test), "ood": part(test, ood=True), "dev": part(dev), "train": part(train)}


def split(examples, rng):
    """A user's own examples as train, dev and test: 70, 10 and 20 of a hundred."""
    if len(examples) < 20:
        raise DataError(
            f"{len(examples)} examples are too few to train, choose and test on: bring 20"
        )
    order = [examples[i] for i in rng.permutation(len(examples))]
    a, b = int(0.7 * len(order)), int(0.8 * len(order))
    return {"train": order[:a], "dev": order[a:b], "test": order[b:]}
