"""Multitask prompt tuning: Wang et al. 2023, "Multitask Prompt Tuning Enables … Transfer"."""

from dataclasses import dataclass

import numpy as np

from ..nn import but
from .prompt import PromptTuning


@dataclass
class MultitaskPrompt(PromptTuning):
    """[P ⊙ (c_t r_t); X] for task t        embeddings of words, c r = 1        Wang et al. 2023, §3

    P is shared; c_t (k, rank) and r_t (rank, D) are the task's.  With several tasks it is a bank of
    them: γ.of(tasks) reads row i of a batch as task tasks[i]; γ.task(t) is that task's alone.
    """

    tasks: int = 1
    rank: int = 1

    def start(self, layer, rng):
        """c r is 1: of the columns of c all but the first meet rows of r that are 0."""
        (P,) = super().start(layer, rng)
        k, D = P.shape
        c, r = rng.normal(0, 0.02, (self.tasks, k, self.rank)), np.zeros((self.tasks, self.rank, D))
        c[..., 0], r[:, 0] = 1, 1
        return P, *((c, r) if self.tasks > 1 else (c[0], r[0]))

    def past(self, layer, P, c, r):
        return [P * (c @ r)]

    def task(self, t):
        """The prompt of one task: P is the same tensor, c and r are its own."""
        if not 0 <= t < self.tasks:
            raise ValueError(f"{self!r}: there is no task {t}")
        return but(self.user(t), tasks=1)
