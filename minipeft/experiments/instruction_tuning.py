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
from .claim import Claim, Contrast, difference
from .study import Settings, Study, Trial, fixed_row

CLUSTERS = ("sentiment", "names")  # each is held out in runs of its own
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

        return Trial(
            model, γ, batches(train, settings.batch_size, seed), dev_score, lambda: scores(γ)
        )

    return trial


def gains(cluster: str) -> tuple[Contrast, ...]:
    """Return the contrasts in the tasks of a cluster that is held out."""
    names = (f"instructions, no {cluster}", f"without instructions, no {cluster}")
    base = f"base, no {cluster}"
    return difference(names[0], base, "unseen"), difference(*names, "unseen")


CLAIM = Claim(
    "CL-20",
    "Instruction tuning raises the zero-shot accuracy in unseen tasks",
    "A model that is fine-tuned on many tasks in the format of prompts, as FLAN and T0, is much "
    "better at tasks that it has not seen.",
    "Adaptation chapter, §11.2.2.1",
    "Wei et al. 2022, §4.2: with 137 billion parameters the accuracy in unseen tasks rises; with 8 "
    "billion and fewer it falls. FLAN is ahead of the zero-shot GPT-3 on 20 of 25 data sets.",
    (
        difference("instructions, no sentiment", "base, no sentiment", "seen"),
        *(contrast for cluster in CLUSTERS for contrast in gains(cluster)),
    ),
    "Twelve tasks of five clusters, of which one is held out; full fine-tuning of the decoder of "
    "1.1 M parameters. The control learns the same examples without their instructions. The answer "
    "is the option with the highest probability.",
    limits="The paper says itself that models of this size are not helped. Its mixture has 62 data "
    "sets.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield, for each cluster that is held out, the rows of the base, the model and the control."""
    base, s = study.base(), study.settings
    sizes = {"train": s.train, "dev": s.dev, "test": s.test}
    splits = prompted_tasks(**{name: n // PART or 1 for name, n in sizes.items()})
    for cluster in CLUSTERS:
        (train, held_out), (dev, _), (seen, unseen) = (
            hold_out(splits[name], cluster) for name in ("train", "dev", "test")
        )

        def scores(γ: Adaptation, seen=seen, unseen=unseen) -> dict[str, float]:
            """Return the accuracies, of all rows with instructions."""
            few = s.test // PART**2 or 1  # of each of many tasks
            return {
                "unseen": accuracy(base, unseen, γ, s.test),
                "seen": accuracy(base, seen, γ, few),
            }

        yield fixed_row(f"base, no {cluster}", scores(PLAIN))
        for name, change in (
            ("instructions", dict),
            ("without instructions", without_instructions),
        ):
            trial = tuned(s, base, change(train), change(dev), held_out, scores)
            yield study.row(f"{name}, no {cluster}", trial)
