"""Instruction tuning: a mixture of many tasks, from which a cluster is held out.

M tasks   B examples in a batch
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..data.batches import POOL, shuffled_batches
from .instructions import Encoder, Prompt, PromptedTask, collate, row_length


def mixing_rates(sizes: Sequence[int], limit: int) -> np.ndarray:
    """r_m = min(e_m, K) / Σ_n min(e_n, K), (M,)        Raffel et al. 2020, §3.5.2

    sizes: the numbers of examples e_m.  limit: K; larger tasks count as if they had K examples.
    """
    if limit < 1:
        raise ValueError(f"limit={limit} must be at least 1")
    e = np.minimum(sizes, limit)
    if not e.sum():
        raise ValueError("no task has an example: give at least one")
    return e / e.sum()


def hold_out(tasks: Mapping[str, PromptedTask], cluster: str) -> tuple[dict, dict]:
    """Return the tasks of all other clusters, to train on, and those of this one, to test on."""
    parts: tuple[dict, dict] = ({}, {})
    for name, task in tasks.items():
        parts[task.cluster == cluster][name] = task
    if not all(parts):
        known = ", ".join(sorted({task.cluster for task in tasks.values()}))
        raise ValueError(f"cluster={cluster!r} must be one of several clusters: {known}")
    return parts


def check_no_leak(tasks: Mapping[str, PromptedTask], held_out: Mapping[str, PromptedTask]) -> None:
    """Raise ValueError if a task has the cluster, or an input, of a task that is held out.

    An input is all texts of an example by name, but the answer.
    """
    clusters = {task.cluster for task in held_out.values()}
    inputs = lambda task: {
        frozenset((name, text) for name, text in example.items() if name != "answer")
        for example in task.examples
    }
    unseen = set().union(*map(inputs, held_out.values()))
    for name, task in tasks.items():
        if task.cluster in clusters:
            raise ValueError(f"the task {name} is of the cluster {task.cluster}, which is held out")
        if shared := unseen & inputs(task):
            raise ValueError(
                f"the task {name} has {len(shared)} texts of a task that is held out, such as "
                f"{dict(sorted(min(shared, key=sorted)))}"
            )


class Mixture:
    """Examples of many tasks, in proportion to their numbers, up to a limit      Wei et al. 2022

    `Trainer(model, γ, optimizer).fit(mixture.batches(model, 16, rng, γ), steps)` tunes a model
    on instructions.  held_out: tasks that it is tested on; see `check_no_leak`.
    """

    def __init__(
        self,
        tasks: Mapping[str, PromptedTask],
        limit: int = 3000,
        held_out: Mapping[str, PromptedTask] | None = None,
    ):
        check_no_leak(tasks, held_out or {})
        self.tasks = [*tasks.values()]
        self.rates = mixing_rates([len(task.examples) for task in self.tasks], limit)

    def draw(self, rng: np.random.Generator) -> tuple[PromptedTask, Prompt, Mapping]:
        """Return a task, one of its prompts and one of its examples."""
        task = self.tasks[rng.choice(len(self.tasks), p=self.rates)]
        pick = lambda items: items[rng.integers(len(items))]
        return task, pick(task.prompts), pick(task.examples)

    def batches(
        self,
        model,
        size: int,
        rng: np.random.Generator,
        adaptation: Adaptation | None = None,
        *,
        tokenizer=None,
        collate: Callable = collate,
    ) -> Iterator[tuple]:
        """Yield batches (ids, labels, mask), endlessly, of `size` examples of similar length.

        adaptation: that is trained, for whose virtual tokens room is left.  tokenizer: None: that
        of the model.  collate: `collate_choices` for TFew, if all tasks have equally many options.
        """
        encode = Encoder(model, tokenizer, adaptation)
        while True:
            rows = [encode(*self.draw(rng)) for _ in range(size * POOL)]
            for some in islice(shuffled_batches(rows, size, rng, row_length), POOL):
                yield collate(model, some)
