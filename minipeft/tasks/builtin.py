"""The tasks of the built-in world."""

from ..data.files import DataError
from ..model.encoder_decoder import EncoderDecoder
from ..world import nli, qa, sentiment, style, summary, table, tags, topic
from ..world.domains import DOMAINS
from .base import Task
from .classify import Classify
from .tag import Tag
from .text_to_text import TextToText, WriteLabel
from .write import Imitate, Write

STEPS = {"nli": 800, "style": 100}  # of a training run, where those of Plan are too few, too many
TASKS = {  # name: kind of task, and the module with its data
    "sentiment": (Classify, sentiment),
    "nli": (Classify, nli),
    "table": (Write, table),
    "qa": (Write, qa),
    "summary": (Write, summary),
    "topic": (Classify, topic),
    "tags": (Tag, tags),
    "style": (Imitate, style),
}
AS_TEXT = {Classify: WriteLabel, Write: TextToText}  # by an encoder–decoder
WORDS: dict[str, dict] = {  # of the world, which the built-in base knows, for the classes of a task
    "sentiment": {0: " bad", 1: " good"},
    "nli": {"entailment": " so", "neutral": " perhaps", "contradiction": " not"},
}

PROMPTS: dict[str, tuple[str, dict]] = {  # template and words, for a language model of the world
    "sentiment": ("{x} All in all I [MASK] it.", {0: "disliked", 1: "liked"}),
    "nli": (
        "{text_a} [MASK] {text_b|uncapitalize}",
        {
            "entailment": "It is true that",
            "neutral": "Nobody told us whether",
            "contradiction": "It is not true that",
        },
    ),
    "topic": ("{x} It was the newest [MASK] in Tarnwick.", {name: name for name in DOMAINS}),
}


def built_in(name: str, base, tokenizer, **options) -> Task:
    """Return a task of the built-in world for this base; options: of its class.

    An encoder–decoder writes the word of a class; for tags and style DataError is raised.
    """
    kind, data = TASKS[name]
    as_text = isinstance(base, EncoderDecoder)
    if as_text and kind not in AS_TEXT:
        known = ", ".join(task for task, (kind, _) in TASKS.items() if kind in AS_TEXT)
        raise DataError(
            f"the task {name} is not for an encoder-decoder, which writes a text for a text: use a "
            f"decoder or an encoder, or one of the tasks {known}"
        )
    splits = data.splits()
    best = getattr(data, "ceiling", lambda examples: 1.0)  # 1: the labels are exact
    ceiling = {test: best(splits[test]) for test in ("test", "ood")}
    if as_text and kind is Classify:
        words = WORDS.get(name, {})
        splits = {split: as_texts(examples, words) for split, examples in splits.items()}
    kind = AS_TEXT[kind] if as_text else kind
    task = kind(name, splits, base, tokenizer, ceiling, **options)
    task.metrics = getattr(data, "METRICS", task.metrics)
    return task


def as_texts(examples: list, words: dict) -> list:
    """Return (text, [word]) of examples (text or pair, class); a pair becomes one text."""
    joined = lambda text: text if isinstance(text, str) else " ".join(text)
    return [(joined(text), [words.get(label, f" {label}")]) for text, label in examples]
