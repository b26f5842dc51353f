"""CL-26: how many examples a prompt is worth."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..adaptation.method import PLAIN
from ..methods import LoRA
from ..tasks.base import Task
from ..tasks.builtin import PROMPTS
from ..tasks.classify import Classify
from ..tasks.prompted import Prompted
from ..world import sentiment
from .claim import Claim, difference
from .study import BATCH_SIZE, Study, fixed_row, on_task, test

SIZES = 8, 32, 256, 2000
EPOCHS = 20  # at most
CLAIM = Claim(
    "CL-26",
    "A prompt is worth many examples",
    "A prompt brings the task to the model and recalls what it has memorised, so few examples are "
    "enough.",
    "Why prompts work, on prompting",
    "Le Scao & Rush 2021, abstract and table 1: a prompt is often worth hundreds of examples, and "
    "in MNLI about 3,500; with all examples the two are alike.",
    (
        *(difference("prompt", "head", "test", n) for n in SIZES[:-1]),
        difference("prompt", "head", "test", SIZES[-1], margin=0.02),
    ),
    "A LoRA of rank 8 through a template and two words, or with a new head; sentiment, decoder of "
    "1.1 M parameters, n examples drawn for each seed. With 2,000 the claim is that they are "
    "alike, by at most two points. A run has at most 20 epochs: 20 steps with 8 examples, 80 with "
    "32. Without examples only the prompt can answer.",
    xlabel="training examples",
)


def sample(splits: dict, n: int, seed: int) -> dict:
    """Return the splits with n training examples, half of each class."""
    rng = np.random.default_rng(seed)
    classes: dict[int, list] = {}
    for pair in splits["train"]:
        classes.setdefault(pair[1], []).append(pair)
    chosen = [pairs[i] for pairs in classes.values() for i in rng.permutation(len(pairs))[: n // 2]]
    return splits | {"train": chosen}


def run(study: Study) -> Iterator[dict]:
    """Yield a row without training, and then for each number of examples."""
    (base, tokenizer), settings = study.base(), study.settings
    splits = study.splits(sentiment)
    template, words = PROMPTS["sentiment"]
    options: dict[str, Any] = {"template": template, "verbalizer": words}

    def prompted(n: int, seed: int) -> Task:
        return Prompted("sentiment", sample(splits, n, seed), base, tokenizer, **options)

    def with_head(n: int, seed: int) -> Task:
        return Classify("sentiment", sample(splits, n, seed), base, tokenizer)

    zero_shot = test(Prompted("sentiment", splits, base, tokenizer, **options), PLAIN)
    yield fixed_row("zero-shot", zero_shot)
    for name, task in {"prompt": prompted, "head": with_head}.items():
        for n in (n for n in SIZES if n <= settings.train):
            steps = min(settings.steps, max(1, EPOCHS * n // BATCH_SIZE))
            trial = on_task(partial(task, n), LoRA(8))
            yield study.row(name, trial, x=n, steps=steps)
