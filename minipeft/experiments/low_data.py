"""CL-8: a prefix against full fine-tuning with few training examples."""

from collections.abc import Iterator

from ..methods import FullFineTuning, PrefixTuning
from .claim import Claim, difference
from .records import describe_values, losses
from .study import Study, on_task

EXAMPLES = 50, 500
METHODS = {"prefix": PrefixTuning(10), "full": FullFineTuning()}
CLAIM = Claim(
    "CL-8",
    "With few examples, a prefix is ahead of full fine-tuning",
    "A prompt retrieves what the model has memorised, in the form of its pre-training, which is "
    "why it works so well with few examples.",
    "Why prompts work, on prompting",
    "Li & Liang 2021, §6.3: with 50 to 500 examples of E2E, the BLEU of a prefix is 2.9 above that "
    "of full fine-tuning on average, and less so with more examples.",
    tuple(difference("full", "prefix", "test", n, unit="nats") for n in EXAMPLES),
    "Records of the task table as lists of their values, others for each seed; decoder of 1.1 M "
    "parameters. Losses in nats per token: lower is better.",
    units={"test": "nats", "ood": "nats"},
    xlabel="training examples",
    limits="The learning rate is chosen on 100 examples, more than a user with 50 examples has. "
    "There is no early stopping: 100 steps are 16 epochs of 50 examples and 1.6 of 500. The "
    "measure is the loss, not BLEU. Nothing stops early: all runs have as many steps, 16 epochs "
    "of 50 examples.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method and number of examples."""
    for n in EXAMPLES:
        tasks = [describe_values(study, n, seed) for seed in range(study.settings.seeds)]
        for name, method in METHODS.items():
            trial = on_task(tasks.__getitem__, method, losses)
            yield study.row(name, trial, x=n)
