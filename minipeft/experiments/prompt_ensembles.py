"""CL-13: a majority vote of prompts that were trained from different seeds."""

from collections.abc import Iterator

import numpy as np

from ..methods import PromptTuning
from ..tasks.classify import Classify
from ..world import sentiment
from .claim import Claim, difference
from .study import Study, fit, fixed_row, on_task

MEMBERS = 5
CLAIM = Claim(
    "CL-13",
    "A vote of five prompts is better than one of them",
    "Trainings are independent, so a set of several prefixes can be trained for one task and used "
    "as an ensemble.",
    "Prompting notes, §1.1.1",
    "Lester et al. 2021, table 3 (SuperGLUE, T5-XXL): mean of five 90.5, best 91.0, vote 91.3.",
    (
        difference("vote", "mean of five", "test"),
        difference("vote", "best of five", "test"),
    ),
    "Five groups of five prompts of ten virtual tokens, sentiment, decoder of 1.1 M parameters, "
    "new heads. The best of five is chosen on test, as in the paper, so it is an optimistic "
    "figure.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for one prompt, and then for groups of them."""
    base, tokenizer = study.base()
    task = Classify("sentiment", study.splits(sentiment), base, tokenizer)
    trial, settings = on_task(task, PromptTuning(10)), study.settings
    yield (one := study.row("one prompt", trial))
    labels, runs = task.labels("test"), settings.seeds * MEMBERS
    groups = []
    for group in range(settings.seeds):
        right, votes = [], np.zeros((len(labels), len(task.classes)))
        for seed in range(group * MEMBERS, (group + 1) * MEMBERS):
            show = lambda step, seed=seed: study.show(
                "groups", seed * settings.steps + step, runs * settings.steps
            )
            γ = fit(trial(100 + seed), one["lr"], settings.steps, seed, show).adaptation
            predicted = task.predict(γ, "test")
            right.append(np.mean([p == y for p, y in zip(predicted, labels)]))
            votes += np.equal.outer(predicted, task.classes)
        vote = [task.classes[c] for c in votes.argmax(1)]
        groups.append((np.mean(right), max(right), np.mean([v == y for v, y in zip(vote, labels)])))
    for name, scores in zip(("mean of five", "best of five", "vote"), zip(*groups)):
        yield fixed_row(name, *({"test": s} for s in scores), lr=one["lr"])
