"""Examples in context: which ones a language model reads before a text, and in which order."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def choose_examples(examples: Sequence[tuple], shots: int, rng: np.random.Generator) -> list:
    """Return `shots` random examples (text, class), in random order.

    The classes take turns, so their numbers differ by one at most while each has examples left.
    The model is not changed: examples in context are text.  Their number, their order and the
    balance of their classes change predictions: Zhao et al. 2021, §3.
    Raises ValueError if there are too few examples.
    """
    by_class = defaultdict(list)
    for i in rng.permutation(len(examples)):
        by_class[examples[i][1]].append(examples[i])
    classes = [by_class[y] for y in sorted(by_class, key=str)]
    turns = [group[i] for i in range(shots) for group in classes if i < len(group)]
    if not 0 <= shots <= len(turns):
        raise ValueError(f"shots={shots} must be from 0 to {len(examples)}, the number of examples")
    chosen = turns[:shots]
    return [chosen[i] for i in rng.permutation(shots)]
