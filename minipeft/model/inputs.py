"""Checks of the inputs of a model: token ids, masks, token types, labels.

B batch   T tokens   R positions with a label   K answers to a prompt
"""

from typing import NamedTuple

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PSEUDO, as_adaptation

HINTS = {  # {kind of a dtype: what to write for ids of such a dtype}
    "U": ": encode a text, [tokenizer.encode(text).ids]",
    "f": ": convert them, ids.astype(int)",
}


class Inputs(NamedTuple):
    """Checked inputs of a model, as NumPy arrays."""

    ids: np.ndarray  # (B, T)
    real: np.ndarray  # (B, T), False at padding
    token_types: np.ndarray  # (B, T)

    @property
    def last(self) -> np.ndarray:
        """The column of the last real token of each text, (B, 1)."""
        return last_columns(self.real)


def check_inputs(
    config, ids, adaptation: Adaptation, mask=None, token_types=None, name="ids"
) -> Inputs:
    """Return checked inputs of a model; raise ValueError for inputs that it can't read.

    config: the Config of the model.  ids, mask, token_types: (B, T).
    """
    ids, V = as_array(name, ids), config.vocabulary
    if ids.ndim != 2 or 0 in ids.shape or ids.dtype.kind not in "iu":
        hint = HINTS.get(ids.dtype.kind, ": write [ids] for one text" if ids.ndim == 1 else "")
        raise ValueError(
            f"{name} must be integers (batch, length), neither of them 0; got "
            f"{ids.dtype} {ids.shape}{hint}"
        )
    adaptation.check_batch(len(ids))
    added = np.broadcast_to(adaptation.pseudo_tokens(len(ids)), (len(ids), 1))
    number = PSEUDO - np.where(ids < 0, ids, 0).astype(int)  # of a pseudo-token; below 0 for words
    known = (ids >= 0) & (ids < V) | (number >= 0) & (number < added)
    if not known.all():
        row, t = np.argwhere(~known)[0]
        more = f" and its {added[row, 0]} pseudo-tokens" if added[row, 0] else ""
        raise ValueError(
            f"token id {ids[row, t]} in row {row} is not in the vocabulary of {V}{more}"
        )
    real = check_mask(mask, ids.shape)
    return Inputs(ids, real, check_token_types(token_types, ids.shape, config.token_types))


def as_array(name, x):
    """Return x as an array; raise ValueError, with the name, for rows of different lengths."""
    try:
        return np.asarray(x)
    except ValueError:
        raise ValueError(
            f"{name} have rows of different lengths: pad them to one length, and give mask="
        ) from None


def check_mask(mask, shape) -> np.ndarray:
    """Return a mask (B, T) as booleans, all True for None; raise ValueError for another shape."""
    if mask is None:
        return np.ones(shape, bool)
    mask = np.asarray(mask).astype(bool)
    if mask.shape != shape:
        raise ValueError(f"mask {mask.shape} must have the shape of ids {shape}")
    return mask


def check_not_empty(mask) -> None:
    """Raise ValueError for a text without a real token; mask (B, T): False at padding."""
    if not mask.any(1).all():
        raise ValueError(
            f"row {np.argmin(mask.any(1))} of the batch has no real token: its mask is all False"
        )


def last_columns(mask) -> np.ndarray:
    """Return the column of the last real token of each text, (B, 1)."""
    return mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)[:, None]


def check_token_types(token_types, shape, known: int) -> np.ndarray:
    """Return token types (B, T), all 0 for None; raise ValueError if one is not below `known`."""
    if token_types is None:
        return np.zeros(shape, int)
    token_types = np.asarray(token_types)
    if not known:
        raise ValueError("this model has no token types: leave token_types out")
    if (
        token_types.shape != shape
        or token_types.dtype.kind not in "iu"
        or not ((0 <= token_types) & (token_types < known)).all()
    ):
        raise ValueError(
            f"token_types must have the shape of ids {shape}, and be from 0 to {known - 1}"
        )
    return token_types


def check_labels(labels, mask, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (B, T), with -100 at padding, and the mask (B, T) as booleans.

    Raises ValueError for a label that is neither -100 nor from 0 to classes - 1.
    """
    labels = as_array("labels", labels)
    if labels.dtype.kind not in "iu" or labels.ndim != 2:
        raise ValueError(
            f"labels must be integers (batch, length); got {labels.dtype} {labels.shape}"
        )
    real = np.ones(labels.shape, bool) if mask is None else np.asarray(mask).astype(bool)
    if labels.shape != real.shape:
        raise ValueError(f"labels {labels.shape} and mask {real.shape} must have the same shape")
    stray = labels[(labels >= classes) | (labels < 0) & (labels != -100)]
    if stray.size:
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, or -100 where there is none; got {stray[0]}"
        )
    return np.where(real, labels, -100), real


def check_targets(targets, shape) -> None:
    """Raise ValueError if targets do not have the shape of the texts, or of their logits."""
    if targets.shape != shape:
        raise ValueError(f"labels have the shape {targets.shape}, and this batch needs {shape}")


def labelled_positions(targets):
    """Return the positions (B, R) that have a target, and the targets (B, R) there.

    A row with fewer than R targets has others, which are -100, too.  If R is not at least 10 % less
    than T, the positions are None, for all.
    """
    R = max(1, (targets >= 0).sum(1).max())
    if R >= 0.9 * targets.shape[1]:
        return None, targets
    positions = np.sort(np.argsort(targets < 0, axis=1, kind="stable")[:, :R], axis=1)
    return positions, np.take_along_axis(targets, positions, 1)


def each_answer(ids, mask, adaptation) -> tuple:
    """Return ids and mask (B K, T) of texts (B, K, T), and the adaptation of each.

    Raises ValueError for ids and a mask of other shapes.
    """
    ids = np.asarray(ids)
    mask = np.ones(ids.shape, bool) if mask is None else np.asarray(mask)
    if ids.ndim != 3 or ids.shape[1] < 2 or mask.shape != ids.shape:
        raise ValueError(
            f"ids and mask must be (prompts, answers, tokens), two answers or more to each prompt; "
            f"got {ids.shape} and {mask.shape}"
        )
    B, K, T = ids.shape
    adaptation = as_adaptation(adaptation).of(np.repeat(np.arange(B), K))
    return ids.reshape(B * K, T), mask.reshape(B * K, T), adaptation


def virtual_positions(model, adaptation: Adaptation) -> int:
    """Return how many positions of the model the adaptation takes: its prompt, and its prefix.

    A prefix takes positions if those of a text start after it.
    """
    B, resolved = adaptation.users or 1, adaptation.resolve()
    prompt = resolved.prepended(model.tokens, B)
    prefix = resolved.prepended(model.blocks[0].attn, B)
    return (prompt.real.shape[1] if prompt else 0) + (int(prefix.shift[0]) if prefix else 0)
