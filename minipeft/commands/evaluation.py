"""Evaluation of a model: the mean loss of the tokens of a text, or the labels it predicts."""

import json
from pathlib import Path

import numpy as np

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..autograd.backend import host
from ..autograd.tensor import no_grad
from ..data.batches import pad
from ..data.files import READERS, DataError
from ..methods.template import Layout
from ..model.transformer import Decoder
from ..tasks.base import truncating
from ..training.parallel import Pool, map_batches
from .common import progress

BATCH = 16  # texts that are evaluated together
LABELS = "labels.json"  # in the folder of an adaptation: the names of the classes of its head


def has_labels(path: Path) -> bool:
    """Return whether a file holds examples with labels; otherwise it is one text."""
    return path.suffix.lower() in READERS


def check_decoder(model) -> Decoder:
    """Return the model; raise ValueError if it is an encoder, or has another head."""
    if not isinstance(model, Decoder):
        kind = type(model).__name__ if model.causal else "encoder"
        article = "an" if kind == "encoder" else "a"
        raise ValueError(
            f"--model is {article} {kind}, which can't generate text: use a decoder, or examples "
            "with labels"
        )
    return model


def extra_positions(model, adaptation: Adaptation, layout: Layout) -> int:
    """Return how many positions the adaptation takes beside the tokens of a text."""
    adaptation.check_batch(1)
    resolved = adaptation.resolve()
    prompt = resolved.prepended(model.tokens, 1)
    prefix = resolved.prepended(model.blocks[0].attn, 1)
    in_front = (prompt.real.size if prompt else 0) + (int(prefix.shift[0]) if prefix else 0)
    return in_front + len(layout([]))


def check_length(model, adaptation: Adaptation, layout: Layout, tokens: int, what: str) -> None:
    """Raise ValueError if the model has too few positions for the tokens and the adaptation."""
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
            f"{source}: {len(ids)} tokens are fewer than one passage of {length}: use more text, "
            "or a smaller --block-size"
        )
    return passages


def mean_loss(model, adaptation: Adaptation, layout: Layout, passages: np.ndarray) -> float:
    """Return the mean loss of the tokens of passages (N, T)."""
    ids, labels = layout.language(passages)
    batches = [slice(start, start + BATCH) for start in range(0, len(ids), BATCH)]

    def total(batch):
        with no_grad():
            return float(model.loss(ids[batch], labels[batch], adaptation)) * len(ids[batch])

    pool = Pool()
    with pool.one_blas_thread(), progress("evaluating", len(batches)) as track:
        return sum(track(pool.map(total, batches))) / len(ids)


def predict(model, adaptation: Adaptation, rows: list[list[int]]) -> list[int]:
    """Return the most likely class of each text, given as token ids."""

    def most_likely(indices):
        ids, mask = pad([rows[i] for i in indices])
        return host(model(ids, adaptation, mask=mask).data.argmax(-1))

    with progress("evaluating", -(-len(rows) // BATCH)) as track:
        return map_batches(most_likely, rows, BATCH, track)


def tokenize(texts: list[str], tokenizer, model) -> tuple[list[list[int]], int]:
    """Return the token ids of texts, truncated as in training, and how many were truncated."""
    encodings = truncating(tokenizer, model).encode_batch(texts)
    return [e.ids for e in encodings], sum(bool(e.overflowing) for e in encodings)


def load_for_text(folder: Path | None, model: Decoder) -> Adaptation:
    """Return the adaptation of a language model that a folder holds, PLAIN for None."""
    if folder is None:
        return PLAIN
    if (folder / LABELS).exists():
        raise DataError(
            f"{folder} is a classifier: use it with `minipeft evaluate` and examples as --data, "
            f"{', '.join(READERS)}"
        )
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
