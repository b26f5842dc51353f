"""The parts of a task: to train on, to choose by, and to test on, with no text in two of them."""

import numpy as np


def parted(example, seed: int = 0, train: int = 2000, dev: int = 500, test: int = 1000) -> dict:
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
