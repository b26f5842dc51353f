"""CL-11: a prefix that starts from words of the task, from other words, and from random numbers."""

from collections.abc import Iterator
from dataclasses import replace

from ..methods import PrefixTuning
from .claim import Claim, difference
from .records import describe_values, losses
from .study import Study, on_task

EXAMPLES = 50
STARTS = {
    "words of the task": " name kind place price rating near serves sells opens seats",
    "other words": " because winter she never letters forgot quickly two swam under",
    "random": "",
}
CLAIM = Claim(
    "CL-11",
    "A prefix starts best from words of the task",
    "A prefix starts at random or from the activations of real words; words that are related to "
    "the goal are a good start, and may make training converge faster.",
    "Prompting notes, §1.1.1",
    "Li & Liang 2021, §7.4 and figure 5: with few examples a random start is much worse, and words "
    "of the task are a little better than others.",
    (
        difference("random", "other words", "test", unit="nats"),
        difference("other words", "words of the task", "test", unit="nats"),
        difference("random", "other words", "start", unit="nats"),
        difference("other words", "words of the task", "start", unit="nats"),
    ),
    "Prefix of length 10; 50 records of the task table as lists of their values, others for each "
    "seed; decoder of 1.1 M parameters. `start` is the loss on test before training. Losses in "
    "nats per token: lower is better.",
    units={"test": "nats", "ood": "nats", "start": "nats"},
    limits="One list of words of each kind. Random numbers are N(0, 0.02²).",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each start."""
    _, tokenizer = study.base()
    tasks = [describe_values(study, EXAMPLES, seed) for seed in range(study.settings.seeds)]
    for name, text in STARTS.items():
        words = tuple(tokenizer.encode(text).ids)[:10]
        method = PrefixTuning(10, "vocabulary" if text else "normal", words)
        yield study.row(name, with_start(tasks, method))


def with_start(tasks: list, method: PrefixTuning):
    """Return the trials of a method, which score the loss before training, too."""

    def trial(seed):
        task = tasks[seed]
        one = on_task(task, method, losses)(seed)
        start = task.loss(one.adaptation, "test")
        return replace(one, scores=lambda: one.scores() | {"start": start})

    return trial
