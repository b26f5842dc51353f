"""CL-18: what the model forgets, with an adaptation and after it is removed."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..methods import FullFineTuning, LoRA, PrefixTuning, PromptTuning
from ..tasks import forgetting
from ..tasks.classify import Classify
from ..world import sentiment
from .claim import Claim, difference
from .study import Study, on_task

METHODS: dict[str, Any] = {
    "prompt": PromptTuning(10),
    "prefix": PrefixTuning(10),
    "prefix, random start": PrefixTuning(10, init="normal"),
    "LoRA": LoRA(8),
    "full": FullFineTuning(),
}


CLAIM = Claim(
    "CL-18",
    "Without the adaptation nothing is forgotten; with it, fine-tuning forgets most",
    "The pretrained model is frozen, so each user or task has parameters of its own, which can be "
    "removed; fine-tuning changes the model for good.",
    "Prompting notes, §1.1.1; Adaptation chapter, §11.2.3",
    "PEFT's method comparison (Llama-3.2-3B, MetaMathQA): the loss on general text rises by 0.03 "
    "nats with full fine-tuning, and by 0.7 to 1.8 with prompts and prefixes from random numbers.",
    (
        difference("full", "LoRA", "forgets", unit="nats"),
        difference("full", "prompt", "forgets", unit="nats"),
        difference("full", "prefix", "forgets", unit="nats"),
        difference("full", "prefix, random start", "forgets", unit="nats"),
    ),
    "Sentiment, decoder of 1.1 M parameters, new head. `forgets` is the rise of the loss on "
    "documents of the world that no base has read, read with the adaptation and the base's own "
    "head. `restored` is the share of seeds for which the base without the adaptation returns the "
    "same bits as before the training: exact, by construction, also of full fine-tuning, whose "
    "weights are a copy. The contrasts state the usual claim; PEFT's figures contradict it.",
    units={"forgets": "nats"},
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method."""
    base, tokenizer = study.base()
    task = Classify("sentiment", study.splits(sentiment), base, tokenizer)
    text = forgetting.general_text(base, tokenizer)
    ids = text.ids[:4]
    before = base(ids).data

    def scores(task, γ):
        return {
            "test": task.evaluate(γ, "test")["accuracy"],
            "forgets": forgetting.forgetting(task, γ, text),
            "restored": float(np.array_equal(base(ids).data, before)),
        }

    for name, method in METHODS.items():
        yield study.row(name, on_task(task, method, scores))
