"""CL-12: probes, lightweight methods and full fine-tuning, by what they can express."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autograd.nn import size
from ..methods import Adapter, FullFineTuning, LoRA, PrefixTuning, Probe, PromptTuning
from ..tasks.classify import Classify
from ..world import sentiment
from .claim import Claim, difference
from .study import Study, fixed_row, on_task, test

METHODS: dict[str, Any] = {
    "prompt": PromptTuning(10),
    "prefix": PrefixTuning(10),
    "adapter": Adapter(),
    "LoRA": LoRA(8),
    "full": FullFineTuning(),
}
CLAIM = Claim(
    "CL-12",
    "Probing expresses least, full fine-tuning most",
    "Probing trains a head on frozen representations and is limited by them; fine-tuning is more "
    "expressive and expensive; lightweight methods are expressive and cheap.",
    "Adaptation chapter, §11.3",
    "No table: the order is a summary of many papers.",
    (
        *(difference(name, "probe", "test") for name in METHODS),
        *(difference("full", name, "test") for name in METHODS if name != "full"),
    ),
    "Sentiment, decoder of 1.1 M parameters. The probe is linear and solved; every other method "
    "also trains this head.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for the probe, and for each method."""
    base, tokenizer = study.base()
    task = Classify("sentiment", study.splits(sentiment), base, tokenizer)
    probe = task.attach(Probe(), np.random.default_rng(0))
    task.solve(probe)
    yield fixed_row("probe", test(task, probe), params=size(probe))
    for name, method in METHODS.items():
        yield study.row(name, on_task(task, method))
