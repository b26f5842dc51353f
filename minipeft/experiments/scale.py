"""CL-1: a soft prompt against full fine-tuning, as the base grows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..adaptation.method import Method
from ..methods import FullFineTuning, PromptTuning
from ..tasks.classify import Classify
from ..world import sentiment
from .claim import Claim, Contrast, Rows, difference
from .study import Study, on_task

MILLIONS = (0.1, 0.3, 1.1, 3.0)  # parameters of the bases
METHODS = {"prompt": PromptTuning(10), "full": FullFineTuning()}


def by_size(
    study: Study, data, methods: Mapping[str, Method], millions: Sequence[float]
) -> Iterator[dict]:
    """Yield a row of each method for each size of the base, in millions of parameters.

    data: module of a classification task.
    """
    splits = study.splits(data)
    for x in millions:
        base, tokenizer = study.base(f"{x:g}M")
        task = Classify("size", splits, base, tokenizer)
        for name, method in methods.items():
            yield study.row(name, on_task(task, method), x)


def gap(rows: Rows, x: float) -> np.ndarray:
    """Return by how much full fine-tuning is ahead of the prompt, for each seed."""
    return rows("full", "test", x) - rows("prompt", "test", x)


def slope(rows: Rows) -> np.ndarray:
    """Return by how much the gap grows when the base has ten times the parameters."""
    xs = rows.xs("full")
    return np.polyfit(np.log10(xs), [gap(rows, x) for x in xs], 1)[0]


CLAIM = Claim(
    "CL-1",
    "As the base grows, prompt tuning approaches full fine-tuning",
    "The larger the frozen model, the more competitive prompt tuning is, until it equals full "
    "fine-tuning.",
    "Adaptation chapter, §11.2.3.2",
    "Lester et al. 2021, figure 1: on SuperGLUE, prompts are far behind with the smallest T5 and "
    "equal with that of 11 billion parameters.",
    (
        Contrast("fall of full − prompt, per factor 10 of size", lambda rows: -slope(rows)),
        difference("prompt", "full", "test", MILLIONS[-1], behind=0.02),
    ),
    "Ten virtual tokens, sentiment, decoders of 0.1 to 3 M parameters with a new head, each "
    "pretrained for 500 steps; the built-in one had 3,000.",
    xlabel="parameters of the base, in millions",
    limits="Equal is less than 2 points behind. T5-Small, the smallest in the paper, has 20 times "
    "the parameters of the largest base here. Each size was pretrained once, in as many steps.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method and size."""
    yield from by_size(study, sentiment, METHODS, MILLIONS)
