"""Files of texts and of what an encoder–decoder has to write for them."""

from collections.abc import Sequence

from ..data.files import read_examples
from ..tasks.text_to_text import TextToText, WriteLabel, joined
from .classifiers import read_splits


def text_task(
    name: str, files: dict, columns: Sequence, base, tokenizer, rng=None, **shares: float
) -> TextToText:
    """Return the task of writing the texts in the column of labels for those of the other columns.

    files, shares: see `read_splits`.  If all these texts occur in training, they are
    names of classes, and the metric is accuracy; else it is BLEU.
    """
    splits = read_splits(files, columns, rng, shares, read_texts, stratified=False)
    written = {split: {text for _, (text,) in part} for split, part in splits.items()}
    has_names = all(texts <= written.get("train", set()) for texts in written.values())
    return (WriteLabel if has_names else TextToText)(name, splits, base, tokenizer)


def read_texts(path, text_column: Sequence[str], target_column: str) -> list[tuple]:
    """Return (text, [target]) of each example in a file; a pair has the names of its columns."""
    examples = read_examples(path, text_column, target_column, as_text=True)
    return [(joined(text, text_column), [target]) for text, target in examples]
