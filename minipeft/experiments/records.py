"""Table-to-text in a form that the base has never read: a record's values, without its fields.

The base has read records as the task `table` writes them, each with a description, so in that form
little is left to learn.
"""

from ..tasks.write import Write
from ..world import table
from .study import Study, subset


def describe_values(study: Study, n: int, seed: int = 0) -> Write:
    """Return the task with n records to train on, which depend on the seed.

    Each has one description in training, and three in the other splits.
    """
    splits = study.splits(table, dev=100, test=100)
    chosen = subset(splits["train"], n, seed)
    splits["train"] = [(text, descriptions[:1]) for text, descriptions in chosen]
    as_values = {
        split: [(values(text), descriptions) for text, descriptions in examples]
        for split, examples in splits.items()
    }
    return Write("table", as_values, *study.base())


def values(text: str) -> str:
    """Return "the Old Spoon, bistro, Tarnwick, fair." of a record as `table` writes it."""
    return f"{', '.join(table.from_text(text).values())}."


def losses(task: Write, adaptation) -> dict[str, float]:
    """Return {split: loss in nats per token} of each test split."""
    return {split: task.loss(adaptation, split) for split in task.tests}
