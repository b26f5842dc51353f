"""Supervised fine-tuning on demonstrations: prompts, and how a person answers them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.batches import pad, shuffled_batches


@dataclass(frozen=True)
class Demonstrations:
    """Pairs of a prompt and an answer, for supervised fine-tuning        Ouyang et al. 2022, §3.5

    `Trainer(model, γ, optimizer).fit(demonstrations.batches(16, rng), steps)` is all of it, for
    any adaptation: the loss is the usual one of a language model.

    pairs: lists of ids, (prompt, answer); the answer ends with an end-of-text token.
    answer_only: whether the tokens of prompts have the label -100; Ouyang et al. do not say.
    """

    pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    answer_only: bool = True

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[tuple]:
        """Yield batches (ids, labels, mask), endlessly, in a new order every epoch."""
        length = lambda pair: len(pair[0]) + len(pair[1])
        return map(self.collate, shuffled_batches(self.pairs, size, rng, length))

    def collate(self, pairs) -> tuple:
        """Return ids, labels, mask (B, T) of some pairs; raise ValueError for an empty one."""
        ids, mask = pad_pairs(pairs)
        columns = np.arange(ids.shape[1])
        begins = np.array([len(prompt) * self.answer_only for prompt, _ in pairs])[:, None]
        return ids, np.where(mask & (columns >= begins), ids, -100), mask


def pad_pairs(pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask (B, T) of prompts with an answer; raise ValueError for an empty one."""
    if not all(len(prompt) and len(answer) for prompt, answer in pairs):
        raise ValueError("a prompt or an answer is empty: give each at least one token")
    return pad([[*prompt, *answer] for prompt, answer in pairs])
