"""Evaluation by prompting: a language model classifies through a template, with examples before."""

import numpy as np

from ..data.files import DataError, read_examples
from ..prompting.calibration import calibrate, content_free
from ..prompting.classifier import PromptClassifier
from ..prompting.examples import choose_examples
from ..prompting.verbalizer import Verbalizer
from ..tasks.builtin import PROMPTS, TASKS
from ..training.parallel import slices
from .common import progress
from .evaluation import load_for_text

BATCH = 16  # texts that are read together


def check_classes(examples: list, words, path) -> None:
    """Raise DataError for an example of a file with a label that has no word."""
    if unknown := sorted({y for _, y in examples} - {*words, None}):
        raise DataError(
            f"{path} has the label {unknown[0]!r}, and --words has {', '.join(words)}: give a word "
            "for each label"
        )


def parse_words(words: tuple[str, ...]) -> dict:
    """Return {label: words} of texts such as "good=liked,loved"; raise ValueError for others."""
    parsed = {}
    for text in words:
        label, equals, listed = text.partition("=")
        if not (label and equals and all(map(str.strip, listed.split(",")))):
            raise ValueError(f"--words {text!r} must be LABEL=WORD, or LABEL=WORD,WORD")
        if label in parsed:
            raise ValueError(f"--words gives the label {label!r} twice")
        parsed[label] = tuple(word.strip() for word in listed.split(","))
    return parsed


def named_columns(examples: list, columns: tuple) -> list:
    """Return the examples with {column: text} in place of each pair of texts."""
    if len(columns) == 1:
        return examples
    return [(dict(zip(columns, text)), label) for text, label in examples]


def read_task(command) -> tuple[dict, str, Verbalizer]:
    """Return the examples of --task, {split: [(text, class), ...]}, its template and its words."""
    template, words = PROMPTS[command.task]
    return TASKS[command.task][1].splits(), template, Verbalizer(words)


def read_files(command) -> tuple[dict, str, Verbalizer]:
    """Return the examples of --data and --demonstrations, as "test" and "train", and the prompt."""
    if not (command.template and command.words):
        raise ValueError(
            "--shots with --data needs a template and words for the labels: --template "
            "'{text} It was [MASK].' --words neg=bad pos=good"
        )
    verbalizer = Verbalizer(parse_words(command.words))
    files, splits = {"test": command.data, "train": command.demonstrations}, {}
    for split, path in files.items():
        if path:
            columns, needed = (command.text_column, command.label_column), split == "train"
            examples = read_examples(path, *columns, needed or not command.predictions)
            check_classes(examples, verbalizer.words, path)
            splits[split] = named_columns(examples, command.text_column)
    return splits, command.template, verbalizer


def evaluate(command, model, tokenizer) -> tuple[dict, list]:
    """Return the report of `evaluate --shots`, and (text, predicted label) of the test examples."""
    read = read_task if command.task else read_files
    splits, template, verbalizer = read(command)
    prompted = PromptClassifier(model, command.template or template, verbalizer, tokenizer)
    rng = np.random.default_rng(command.seed)
    pool = splits.get("train") or [x for x in splits["test"] if x[1] is not None]
    shown = choose_examples(pool, command.shots, rng)
    prompted = prompted.with_examples(shown, separator=command.separator)
    tests = {
        split: [example for example in splits[split] if example not in shown][: command.limit]
        for split in ("test", "ood")
        if split in splits
    }
    if empty := [split for split, examples in tests.items() if not examples]:
        raise ValueError(
            f"--shots {command.shots} leaves no example to classify as {empty[0]}: use fewer, or "
            "give --demonstrations FILE"
        )
    results = []
    for folder in (None, *command.adaptation):
        adaptation = load_for_text(folder, model)
        scores, predictions = score(prompted, adaptation, tests)
        results.append({"adaptation": folder and str(folder)} | scores)
    texts, room = [text for examples in tests.values() for text, _ in examples], prompted.room()
    report = {
        "data": str(command.data or command.task),
        "examples": len(tests["test"]),
        "shots": command.shots,
        "fewest_shots": min(prompted.shots(text, room) for text in texts),
        "prompt": prompted.render(texts[0], room),
        "results": results,
    }
    return report, predictions["test"]


def score(prompted: PromptClassifier, adaptation, tests: dict) -> tuple[dict, dict]:
    """Return the scores of all tests, and {split: [(text, predicted class), ...]}.

    The scores are the accuracy and, "calibrated", the one after contextual calibration; None
    without labels.
    """
    prior, scores, predictions = content_free(prompted, adaptation), {}, {}
    for split, examples in tests.items():
        texts, labels = zip(*examples)
        with progress("evaluating", len(slices(len(texts), BATCH))) as bar:
            log_p = prompted.log_probabilities(texts, adaptation, BATCH, bar)
        prefix = "" if split == "test" else f"{split}_"
        named = lambda log_p: [prompted.classes[c] for c in log_p.argmax(1)]
        for name, q in (("accuracy", log_p), ("calibrated", calibrate(log_p, prior))):
            right = [p == y for p, y in zip(named(q), labels) if y is not None]
            scores[prefix + name] = float(np.mean(right)) if right else None
        predictions[split] = list(zip(texts, named(log_p)))
    return scores, predictions
