"""CL-6: answers about things of unseen domains, by a prompt and by all weights."""

from collections.abc import Iterator
from typing import Any

from ..methods import FullFineTuning, PromptTuning
from ..tasks.write import Write
from ..world import qa
from .claim import Claim, difference
from .study import Study, on_task

LONGER = 2  # times as many steps as usual: only the three tokens of an answer are learned
METHODS: dict[str, Any] = {"prompt": PromptTuning(20), "full": FullFineTuning()}
CLAIM = Claim(
    "CL-6",
    "A prompt answers questions about other domains better than full fine-tuning",
    "Lightweight methods tend to be better outside the domain of training: trained on SQuAD and "
    "tested on MRQA, prompt tuning has a better F1 than full fine-tuning.",
    "Adaptation chapter, §11.2.3.4",
    "Lester et al. 2021, table 1 (T5-XXL), F1 of a prompt and of full fine-tuning: TextbookQA 66.8 "
    "and 54.3, BioASQ 79.1 and 77.9, RACE 60.7 and 59.8, RE 88.8 and 88.4, DuoRC 67.7 and 68.9, "
    "DROP 67.1 and 68.9; in the domain, SQuAD, 94.8 and 94.9.",
    (
        difference("prompt", "full", "ood"),
        difference("prompt", "full", "test", margin=0.02),
    ),
    "F1 of the task qa, decoder of 1.1 M parameters. In the domain (test) the claim is that a "
    "prompt and full fine-tuning are alike, by at most two points. Twice the usual steps.",
    limits="The base has read no questions, and so few things twice that it has not learned to "
    "copy: after full fine-tuning most answers are of the right type, such as a price, and few are "
    "right. The paper's base is 10,000 times as large.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method."""
    task = Write("qa", study.splits(qa, dev=100, test=100), *study.base())
    task.metrics = qa.METRICS
    for name, method in METHODS.items():
        trial = on_task(task, method)
        yield study.row(name, trial, steps=LONGER * study.settings.steps)
