"""Comparisons: prompts, and the order in which people prefer answers to them.

B prompts   K answers to each   T tokens
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..data.batches import pad_pairs, shuffled_batches
from .ranking import Ranked
from .rollout import compute


@dataclass(frozen=True)
class Comparisons:
    """Prompts with K ranked answers to each, for a reward model or DPO    Ouyang et al. 2022, §3.5

    `Trainer(model, γ, optimizer).fit(comparisons.batches(16, rng), steps)` trains either.

    rows: (prompt, answers, ranks): ids, K lists of ids, and K numbers, higher is better.  An answer
    ends with an end-of-text token.  K is the same for all prompts.
    """

    rows: Sequence[tuple[Sequence[int], Sequence[Sequence[int]], Sequence[float]]]

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[tuple]:
        """Yield batches (ids, ranks, mask), endlessly, in a new order every epoch."""
        return map(self.collate, shuffled_batches(self.rows, size, rng, longest))

    def collate(self, rows) -> tuple:
        """Return ids (B, K, T), ranks (B, K), mask (B, K, T) of some rows.

        Raises ValueError for an empty prompt or answer, and for different K.
        """
        sizes = {len(part) for _, *parts in rows for part in parts}
        if len(sizes) != 1:
            raise ValueError(f"prompts have {sorted(sizes)} answers or ranks: give K to each")
        ids, mask = pad_pairs(
            [(prompt, answer) for prompt, answers, _ in rows for answer in answers]
        )
        ranks, shape = np.array([ranks for *_, ranks in rows]), (len(rows), *sizes, ids.shape[1])
        return ids.reshape(shape), ranks, mask.reshape(shape)

    def scores(self, model: Ranked, adaptation: Adaptation | None = None) -> np.ndarray:
        """Return the scores (B, K) that a model gives to the answers of all rows."""

        def scores(indices):
            ids, _, mask = self.collate([self.rows[i] for i in indices])
            return model.scores(ids, adaptation, mask=mask)

        return compute(scores, [range(longest(row)) for row in self.rows])


def longest(row) -> int:
    """Return the number of tokens of a prompt with its longest answer."""
    prompt, answers, _ = row
    return len(prompt) + max(map(len, answers))
