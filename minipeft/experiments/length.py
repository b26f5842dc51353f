"""CL-3: how long a soft prompt and a prefix should be."""

from collections.abc import Iterator

from ..methods import PrefixTuning, PromptTuning
from ..tasks.classify import Classify
from ..world import sentiment
from .claim import Claim, Contrast
from .study import Study, on_task

LENGTHS = {"prompt": (1, 5, 20, 50), "prefix": (1, 20)}


def gain(name: str, short: int, long: int, margin: float = 0.0) -> Contrast:
    """Return the contrast of two lengths of a method."""
    values = lambda rows: rows(name, "test", long) - rows(name, "test", short)
    return Contrast(f"{name}: {long} − {short} virtual tokens, test", values, margin)


CLAIM = Claim(
    "CL-3",
    "Twenty virtual tokens are enough",
    "The length of a soft prompt is a hyperparameter; 10 to 50 virtual tokens are usual.",
    "Prompting notes, §1.1.1",
    "Lester et al. 2021, figure 3a: one virtual token is far worse than 20, and more than 20 gain "
    "little. Li & Liang 2021, figure 4: a prefix improves up to 10 tokens (tables) or 200 "
    "(summaries), then falls slightly.",
    (
        gain("prompt", 1, 20),
        gain("prompt", 20, 50, margin=0.01),
        gain("prefix", 1, 20),
    ),
    "Prompts of four lengths, prefixes of two, sentiment, decoder of 1.1 M parameters, new head. "
    "Beyond 20 the claim is that nothing changes: by at most a point.",
    xlabel="virtual tokens",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method and length."""
    base, tokenizer = study.base()
    task = Classify("sentiment", study.splits(sentiment), base, tokenizer)
    for name, method in {"prompt": PromptTuning, "prefix": PrefixTuning}.items():
        for n in LENGTHS[name]:
            yield study.row(name, on_task(task, method(length=n)), x=n)
