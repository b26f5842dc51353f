"""What a frozen base is adapted to: texts to classify, words to tag, texts to write."""

from ..world import nli, sentiment, style, table, tags, topic
from .classify import Classify
from .tag import Tag
from .write import Imitate, Write

TASKS = {
    "sentiment": (Classify, sentiment),
    "nli": (Classify, nli),
    "table": (Write, table),
    "topic": (Classify, topic),
    "tags": (Tag, tags),
    "style": (Imitate, style),
}


def built_in(name, base, tokenizer):
    """One of the world's own tasks."""
    kind, data = TASKS[name]
    splits, best = data.splits(), getattr(data, "ceiling", lambda pairs: 1.0)
    ceiling = {test: best(splits[test]) for test in ("test", "ood")}
    return kind(name, splits, base, tokenizer, ceiling)
