"""Batches of token ids."""

from collections.abc import Callable, Iterator

import numpy as np

from .files import DataError
from .words import count


def pad(rows: list, filler=0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of token ids as one array (B, T), filled up on the right, and its mask."""
    shape = len(rows), max(map(len, rows))
    ids, mask = np.full(shape, filler), np.zeros(shape, bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, True
    return ids, mask


def pad_pairs(pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask (B, T) of prompts with an answer; raise ValueError for an empty one."""
    if not all(len(prompt) and len(answer) for prompt, answer in pairs):
        raise ValueError("a prompt or an answer is empty: give each at least one token")
    return pad([[*prompt, *answer] for prompt, answer in pairs])


def pad_answers(pairs, answer_only: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, labels and mask (B, T) of prompts with an answer; see `pad_pairs`.

    answer_only: whether the tokens of prompts have the label -100.
    """
    ids, mask = pad_pairs(pairs)
    columns = np.arange(ids.shape[1])
    begins = np.array([len(prompt) * answer_only for prompt, _ in pairs])[:, None]
    return ids, np.where(mask & (columns >= begins), ids, -100), mask


POOL = 16  # batches sorted by length together: padding falls from 32 % of a batch to 4 %
POOLS = 4  # at least this many pools in an epoch, so that a text meets others in the next


def shuffled_batches(
    examples, size: int, rng, length: Callable = lambda example: 0
) -> Iterator[list]:
    """Yield lists of `size` examples of similar length, endlessly, in a new order every epoch.

    Every example comes at most once in an epoch; the remainder of the division by `size` is left
    out, and differs from epoch to epoch.
    """
    while True:
        order, batches = rng.permutation(len(examples)).tolist(), []
        total = max(1, len(order) // size)  # of batches
        step = size * min(POOL, max(1, total // POOLS))
        for start in range(0, total * size, step):
            pool = order[start : min(start + step, total * size)]
            pool.sort(key=lambda i: length(examples[i]))
            batches += [pool[i : i + size] for i in range(0, len(pool), size)]
        for i in rng.permutation(len(batches)):
            yield [examples[j] for j in batches[i]]


def passages(ids, size: int, length: int, rng) -> Iterator[tuple]:
    """Yield (ids, labels, None), endlessly: `size` random passages of `length` tokens of a text."""
    ids = np.asarray(ids)
    if len(ids) < length:
        raise DataError(
            f"the text has {count(len(ids), 'token')}, fewer than one passage of {length}: use a "
            "longer text, or shorter passages"
        )
    while True:
        start = rng.integers(0, len(ids) - length + 1, size)
        batch = ids[start[:, None] + np.arange(length)]
        yield batch, batch, None
