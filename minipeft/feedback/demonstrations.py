"""Supervised fine-tuning on demonstrations: prompts, and how a person answers them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.batches import pad_answers, shuffled_batches


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
        return pad_answers(pairs, self.answer_only)
