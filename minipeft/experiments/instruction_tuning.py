"""CL-20: a model tuned on the instructions of many tasks, on tasks that it has not seen."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..autograd.tensor import no_grad
from ..methods import FullFineTuning
from ..prompting.instructions import PromptedTask, rank_options
from ..prompting.mixture import Mixture, hold_out
from ..tasks.instructions import prompted_tasks, without_instructions
from .claim import Claim, difference
from .study import BATCH_SIZE, Settings, Study, Trial, fixed_row

HELD_OUT = "sentiment"  # the cluster of tasks that are not seen
PART = 4  # each task has a quarter of the examples of the settings
Tasks = Mapping[str, PromptedTask]


def accuracy(base: tuple, tasks: Tasks, adaptation: Adaptation, most: int) -> float:
    """Return the mean accuracy in the tasks with options, on `most` examples of each at most."""
    (model, tokenizer), shares = base, []
    for task in tasks.values():
        if task.options:
            task = replace(task, examples=task.examples[:most])
            predicted = rank_options(model, task, adaptation, tokenizer=tokenizer)
            right = [p == example["answer"] for p, example in zip(predicted, task.examples)]
            shares.append(np.mean(right))
    return float(np.mean(shares))


def tuned(
    settings: Settings, base: tuple, train: Tasks, dev: Tasks, held_out: Tasks, scores: Callable
) -> Callable[[int], Trial]:
    """Return the trials of full fine-tuning on a mixture of tasks, by seed.

    The learning rate is chosen by the loss on dev of the same tasks.
    """
    model, tokenizer = base

    def trial(seed: int) -> Trial:
        γ = FullFineTuning().attach(model)

        def batches(tasks, size, seed):
            rng, mixture = np.random.default_rng(seed), Mixture(tasks, held_out=held_out)
            return mixture.batches(model, size, rng, γ, tokenizer=tokenizer)

        def dev_score():
            ids, labels, mask = next(batches(dev, settings.dev, 0))
            with no_grad():
                return -float(model.loss(ids, labels, γ, mask=mask))

        return Trial(model, γ, batches(train, BATCH_SIZE, seed), dev_score, lambda: scores(γ))

    return trial


CLAIM = Claim(
    "CL-20",
    "Instruction tuning raises the zero-shot accuracy in unseen tasks",
    "A model that is fine-tuned on many tasks in the format of prompts, as FLAN and T0, is much "
    "better at tasks that it has not seen.",
    "Adaptation chapter, §11.2.2.1",
    "Wei et al. 2022, §4.2: with 137 billion parameters the accuracy in unseen tasks rises; with 8 "
    "billion and fewer it falls. FLAN is ahead of the zero-shot GPT-3 on 20 of 25 data sets.",
    (
        difference("instructions", "base", "seen"),
        difference("instructions", "base", "unseen"),
        difference("instructions", "without instructions", "unseen"),
    ),
    "Twelve tasks of five clusters, of which that of sentiment is held out; full fine-tuning of a "
    "decoder of 1.1 M parameters. The control learns the same examples without their "
    "instructions. The answer is the option with the highest probability. Each task has 2,000 "
    "examples for training, and 100 (seen tasks: 25) for the test.",
    limits="The paper says itself that models of this size are not helped. Its mixture has 62 data "
    "sets.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield the rows of the base, of the model that is tuned, and of the control."""
    base, s = study.base(), study.settings
    part = {"dev": s.dev // PART or 1, "test": s.test // PART or 1}
    splits = prompted_tasks(train=s.train, **part)
    (train, _), (dev, _), (seen, unseen) = (
        hold_out(splits[name], HELD_OUT) for name in ("train", "dev", "test")
    )

    def scores(γ: Adaptation) -> dict[str, float]:
        """Return the accuracies, of all rows with instructions."""
        n = part["test"]
        return {
            "unseen": accuracy(base, unseen, γ, n),
            "seen": accuracy(base, seen, γ, n // PART or 1),
        }

    yield fixed_row("base", scores(PLAIN))
    changes: dict[str, Callable] = {
        "instructions": dict,
        "without instructions": without_instructions,
    }
    for name, change in changes.items():
        trial = tuned(s, base, change(train), change(dev), unseen, scores)
        yield study.row(name, trial)
