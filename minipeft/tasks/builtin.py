"""The tasks of the built-in world."""

from ..world import nli, sentiment, style, table, tags, topic
from .base import Task
from .classify import Classify
from .tag import Tag
from .write import Imitate, Write

STEPS = {"nli": 800, "style": 100}  # of a training run, where those of Plan are too few, too many
TASKS = {  # name: kind of task, and the module with its data
    "sentiment": (Classify, sentiment),
    "nli": (Classify, nli),
    "table": (Write, table),
    "topic": (Classify, topic),
    "tags": (Tag, tags),
    "style": (Imitate, style),
}


def built_in(name: str, base, tokenizer, **options) -> Task:
    """Return a task of the built-in world for this base; options: of its class."""
    kind, data = TASKS[name]
    splits = data.splits()
    best = getattr(data, "ceiling", lambda examples: 1.0)  # 1: the labels are exact
    ceiling = {test: best(splits[test]) for test in ("test", "ood")}
    return kind(name, splits, base, tokenizer, ceiling, **options)
