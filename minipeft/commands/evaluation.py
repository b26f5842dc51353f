"""Evaluation of a language model: the mean loss of the tokens of a text."""

import json
import math
from pathlib import Path

import numpy as np

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..data.files import READERS, DataError, holds_examples
from ..data.words import count
from ..methods.template import Layout
from ..model.encoder_decoder import EncoderDecoder
from ..model.heads import Headed
from ..model.transformer import Decoder
from ..tasks import forgetting
from ..tasks.base import extra_positions
from ..training.parallel import slices
from .common import print_note, progress, wrapped
from .folders import network_for

BATCH = 16  # texts that are evaluated together
LABELS = "labels.json"  # in the folder of an adaptation: the names of the classes of its head


def all_hold_examples(*paths: Path | None) -> bool:
    """Return whether the files, as far as given, hold examples; False: each is one text.

    Raises ValueError for files of both kinds.
    """
    kinds = {holds_examples(path) for path in paths if path}
    if len(kinds) > 1:
        raise ValueError("--data, --dev and --test must all be examples with labels, or all texts")
    return kinds.pop()


def check_decoder(model) -> Decoder:
    """Return the model; raise ValueError if it is not a decoder, or has another head."""
    if isinstance(model, EncoderDecoder):
        raise ValueError(
            "--data is a text, and --model an encoder-decoder, which writes a text for a text: use "
            "a decoder, or examples with a text and a label or another text"
        )
    if not isinstance(model, Decoder):
        kind = type(model).__name__ if model.causal else "encoder"
        article = "an" if kind == "encoder" else "a"
        raise ValueError(
            f"--model is {article} {kind}, which can't generate text: use a decoder, or examples "
            "with labels"
        )
    return model


def check_length(model, adaptation: Adaptation, layout: Layout, tokens: int, what: str) -> None:
    """Raise ValueError if the model has too few positions for the tokens and the adaptation."""
    adaptation.check_batch(1)
    extra, length = extra_positions(model, adaptation, layout), model.config.length
    if extra + tokens > length:
        why = f", {extra} of them for the adaptation" if extra else ""
        raise ValueError(
            f"{what}: {extra + tokens} positions are needed{why}; the model has {length}"
        )


def split_passages(ids: list[int], length: int, source) -> np.ndarray:
    """Return consecutive passages (N, length) of a text; its last tokens may be left out."""
    passages = np.array(ids[: len(ids) // length * length]).reshape(-1, length)
    if not len(passages):
        raise DataError(
            f"{source}: {count(len(ids), 'token')}, fewer than one passage of {length}: use more "
            "text, or a smaller --block-size"
        )
    return passages


def mean_loss(model, adaptation: Adaptation, layout: Layout, passages: np.ndarray) -> float:
    """Return the mean loss of the tokens of passages (N, T)."""
    ids, labels = layout.language(passages)
    with progress("evaluating", len(slices(len(ids), BATCH))) as bar:
        return forgetting.mean_loss(model, ids, labels, lambda rows: adaptation, BATCH, bar)


def check_base_loss(loss: float, model) -> float:
    """Return the loss of the base model; print a note if a uniform guess would be better."""
    if loss > (guess := math.log(model.config.vocabulary)):
        note = (
            f"the loss of the base model, {loss:.3f}, is above log V = {guess:.3f}, that of a "
            "uniform guess: it was not trained on such text; the built-in one knows only its "
            "generated world"
        )
        print_note(wrapped(note))
    return loss


def load_for_text(folder: Path | None, model: Decoder) -> Adaptation:
    """Return the adaptation of a language model that a folder holds, PLAIN for None."""
    if folder is None:
        return PLAIN
    if (folder / LABELS).exists():
        raise DataError(
            f"{folder} is a classifier: use it with `minipeft evaluate` and examples as --data, "
            f"{', '.join(READERS)}"
        )
    if isinstance(network := network_for(folder, model), Headed):
        kind = type(network).__name__
        raise DataError(f"{folder} is an adaptation of a {kind}, which does not generate text")
    return hf.load_adaptation(folder, model)


def read_labels(folder: Path) -> list[str]:
    """Return the names of the classes of the adaptation in a folder."""
    path = folder / LABELS
    try:
        labels = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{folder} is not a classifier: it has no {LABELS}, which `minipeft train` writes "
            "if --data has labels"
        ) from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(labels, list) or {type(label) for label in labels} != {str}:
        raise DataError(f"{path} must hold a list of names")
    return labels
