"""CL-2: a soft prompt that starts from words, against one that starts at random numbers."""

from collections.abc import Iterator
from typing import Any

from ..methods import PromptTuning
from ..tasks.classify import Classify
from ..world import sentiment
from .claim import Claim, difference
from .study import Study, on_task

STARTS: dict[str, Any] = {
    "uniform": {"init": "uniform"},
    "vocabulary": {"init": "vocabulary"},
    "labels": {"init": "labels", "words": ("bad", "good")},
}
CLAIM = Claim(
    "CL-2",
    "A prompt learns better from words than from random numbers",
    "Random numbers are a bad start; embeddings of random words, or of the names of the classes, "
    "are better.",
    "Adaptation chapter, §11.2.3.2",
    "Lester et al. 2021, figure 3b: the names of the classes are best at every size but the "
    "largest, where all are alike.",
    (
        difference("vocabulary", "uniform", "test"),
        difference("labels", "uniform", "test"),
        difference("labels", "vocabulary", "test"),
    ),
    "Ten virtual tokens, sentiment, decoder of 1.1 M parameters with a new head; uniform: numbers "
    "from −½ to ½, as in the paper.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each start."""
    base, tokenizer = study.base()
    task = Classify("sentiment", study.splits(sentiment), base, tokenizer)
    for name, options in STARTS.items():
        words = tuple(tokenizer.encode(f" {w}").ids for w in options.get("words", ()))
        method = PromptTuning(10, **options | {"words": words})
        yield study.row(name, on_task(task, method))
