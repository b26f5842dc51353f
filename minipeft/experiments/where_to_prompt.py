"""CL-10: virtual tokens at the input or in every layer, and in front of the text or after it."""

from collections.abc import Iterator

from ..methods import PrefixTuning, PseudoTokens
from .claim import Claim, difference
from .records import describe_values, losses
from .study import Study, on_task

METHODS = {
    "prefix": PrefixTuning(10),
    "prompt": PseudoTokens("[P]*10 {x}"),
    "infix prompt": PseudoTokens("{x} [P]*10"),
    "prompt of 80": PseudoTokens("[P]*80 {x}"),
}
CLAIM = Claim(
    "CL-10",
    "Virtual tokens are best in every layer, and in front of the text",
    "A prefix is trained in every layer, which makes it more expressive than virtual tokens at the "
    "input alone.",
    "Adaptation chapter, §11.2.3.3",
    "Li & Liang 2021, table 4, E2E: BLEU of a prefix 69.7; of embeddings alone 48.1, 62.2 and 61.9 "
    "with 1, 10 and 20 virtual tokens; of an infix, in every layer between the record and the "
    "description, 67.9, 67.2 and 66.7.",
    (
        difference("prompt", "prefix", "test", unit="nats"),
        difference("infix prompt", "prompt", "test", unit="nats"),
        difference("prompt of 80", "prefix", "test", unit="nats"),
    ),
    "Ten virtual tokens; with 80, a prompt has as many parameters as the prefix. 200 records of "
    "the task table, as lists of their values, with a description each; decoder of 1.1 M "
    "parameters. Losses in nats per token: lower is better.",
    units={"test": "nats", "ood": "nats"},
    limits="The infix is at the input, between the record and the description; the paper's is in "
    "every layer. A prefix starts from the keys and values of random words, a prompt from their "
    "embeddings.",
)


def run(study: Study) -> Iterator[dict]:
    """Yield a row for each method."""
    task = describe_values(study, 200)
    for name, method in METHODS.items():
        yield study.row(name, on_task(task, method, losses))
