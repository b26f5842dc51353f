"""Classifiers: files of examples, and the heads of models and adaptations with their classes."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..data.files import DataError, read_examples
from ..data.labels import class_name
from ..data.splits import split
from ..data.words import count
from ..model.heads import Classifier, Headed
from ..storage.json import read_json
from ..tasks.classify import Classify, classifier
from .common import print_note
from .evaluation import LABELS, read_labels
from .folders import network_for


def read_splits(
    files: dict, columns: Sequence, rng, shares: dict, read=read_examples, stratified: bool = True
) -> dict[str, list]:
    """Return {"train": examples, "dev": …} of {split: file or None}.

    columns: those of the texts, and that of the labels.  shares: {split: share}, of the training
    examples, for a split without a file.  read: returns the examples of a file, as read_examples.
    """
    splits = {name: read(path, *columns) for name, path in files.items() if path}
    if shares := {name: share for name, share in shares.items() if name not in splits}:
        try:
            splits |= split(splits["train"], rng, stratified, **shares)
        except DataError as error:
            raise DataError(f"{files['train']}: {error}") from None
    return splits


def classify_task(name: str, splits: dict, model, tokenizer, pool: str | None = None) -> Classify:
    """Return the classification of examples by the head of the model, or by a new head.

    The head is kept if all labels are names of its classes, or are the numbers of all; else a line
    on stderr says why it is not.
    """
    labels, classes, why = {label for pairs in splits.values() for _, label in pairs}, None, ""
    if isinstance(model, Classifier):
        names, numbers = namings(model)
        classes = names if labels <= {*names} else numbers if labels == {*numbers} else None
        why = f"its classes are {', '.join(names)}, and the labels of {name} are "
        why += ", ".join(sorted(labels))
    elif isinstance(model, Headed):
        why = f"a {type(model).__name__} does not classify texts"
    if why and classes is None:
        print_note(f"a new head is trained, not the model's: {why}")
    return Classify(name, splits, model, tokenizer, classes=classes, pool=pool)


def load_classifier(folder: Path | None, model) -> tuple[Classifier, Adaptation, list[list[str]]]:
    """Return the classifier that an adaptation of `model` is for, the adaptation, and its namings.

    folder: of the adaptation; None: the model itself, a Classifier, without one.
    Raises DataError if there is no head for texts, or if it has one output, for a regression.
    """
    if folder is None:
        network, adaptation = model, PLAIN
    else:
        labels = read_labels(folder) if (folder / LABELS).exists() else None
        network = network_for(folder, model)
        if labels and not isinstance(network, Classifier):  # the head was frozen at 0
            network = classifier(model, len(labels))
        adaptation = hf.load_adaptation(folder, network)
    if not isinstance(network, Classifier):
        raise DataError(
            f"{folder} is not a classifier: it has no head for texts, which `minipeft train` "
            "trains if --data has labels"
        )
    return network, adaptation, namings(network, folder)


def namings(network: Classifier, folder: Path | None = None) -> list[list[str]]:
    """Return the lists of names that the classes of a head have: of those, labels use one.

    They are the names in labels.json of the adaptation's folder, which `train` writes; else those
    in id2label of config.json, there or of the model, or else LABEL_0, LABEL_1, …, and the numbers.
    Raises DataError for names that do not fit the head, and if the head has one output.
    """
    classes = network.score.shape[1]
    if classes == 1:
        raise DataError(
            "the head of the model has one output, for a regression (num_labels=1), which is not "
            "supported; a classifier has at least two"
        )
    if folder and (folder / LABELS).exists():
        if len(names := read_labels(folder)) != classes:
            raise DataError(
                f"{folder / LABELS} has {count(len(names), 'name')}; the head has {classes}"
            )
        return [class_names(names)]
    settings = network.folder_settings
    if folder and (folder / "config.json").exists():
        settings = read_json(folder / "config.json")
    numbers = [str(i) for i in range(classes)]
    id2label = {str(i): name for i, name in (settings.get("id2label") or {}).items()}
    default = {i: f"LABEL_{i}" for i in numbers}
    names = id2label if {*id2label} == {*numbers} else default
    return [class_names(names[i] for i in numbers), numbers]


def class_names(names: Iterable) -> list[str]:
    """Return names of classes as `class_name` has them; raise DataError for a list or an object."""
    try:
        return [class_name(name) or str(name) for name in names]
    except ValueError as error:
        raise DataError(f"id2label of config.json: {error}") from None


def write_labels(folder: Path, classes: list) -> None:
    """Write the names of the classes of a head into the folder of its adaptation."""
    (folder / LABELS).write_text(json.dumps(classes))
