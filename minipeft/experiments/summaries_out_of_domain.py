"""CL-7: summaries and opinions of unseen domains, by a prefix and by all weights."""

from collections.abc import Iterator

from ..methods import FullFineTuning, PrefixTuning
from ..tasks.classify import Classify
from ..tasks.write import Write
from ..world import sentiment, summary
from .claim import Claim, difference
from .study import Study, on_task

METHODS = {"prefix": PrefixTuning(10), "full": FullFineTuning()}
CLAIM = Claim(
    "CL-7",
    "A prefix is ahead in other domains: summaries and reviews",
    "Lightweight methods are better outside the domain of training, such as a prefix on XSum from "
    "news to sports, and from some news to other news; in the domain of training it is usually a "
    "little worse.",
    "Adaptation chapter, §11.2.3.4",
    "Li & Liang 2021, tables 2 and 3 (BART-large, XSum): ROUGE-L of a prefix and of full "
    "fine-tuning 31.51 and 30.26 from news to sports, 31.47 and 31.15 within news; in domain 36.05 "
    "and 37.25.",
    (
        difference("prefix", "full", "sports"),
        difference("prefix", "full", "other news"),
        difference("full", "prefix", "test"),
        difference("prefix, sentiment", "full, sentiment", "ood"),
        difference("full, sentiment", "prefix, sentiment", "test"),
    ),
    "ROUGE-L of the task summary, and accuracy of the task sentiment, of which ood are reviews of "
    "other things; ten virtual tokens, decoder of 1.1 M parameters.",
    limits="The reports come from a grammar: of each kind of event there are three sentences in "
    "one order. The paper's base is 400 times as large, and its reports have 400 words.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each task and method."""
    base, tokenizer = study.base()
    splits = study.splits(summary, dev=100, test=100)
    splits["sports"] = splits.pop("ood")
    splits["other news"] = summary.splits(within=True, train=0, dev=0, test=len(splits["test"]))[
        "ood"
    ]
    task = Write("summary", splits, base, tokenizer)
    task.metrics = summary.METRICS
    for name, method in METHODS.items():
        yield study.row(name, on_task(task, method))
    opinions = Classify("sentiment", study.splits(sentiment), base, tokenizer)
    for name, method in METHODS.items():
        yield study.row(f"{name}, sentiment", on_task(opinions, method))
