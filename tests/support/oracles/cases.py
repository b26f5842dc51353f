"""Inputs and labels of a batch: without padding, padded on the right, or padded on the left."""

import numpy as np

from tests.support.oracles.table import LEFT_OUT, NO_LOSS, SEQ2SEQ, B, T, V, listed

LENGTHS = np.array([7, 5, 3])  # tokens of each padded text
NO_LABEL = -100


def texts(rng, case):
    """Return ids and mask (B, T) of a case; id 0 is used for padding only."""
    ids = rng.integers(1, V, (B, T))
    if case == "plain":
        return ids, np.ones((B, T), int)
    mask = (np.arange(T) < LENGTHS[:, None]).astype(int)
    mask = mask[:, ::-1].copy() if case == "left" else mask
    return ids * mask, mask


def labels(rng, task, mask):
    """Return labels of real tokens; for language models not of the first, nor of all others."""
    real, nth = mask > 0, mask.cumsum(1) * mask
    if task == SEQ2SEQ:  # of another text
        return np.where(np.arange(5) < [[5], [3], [4]], rng.integers(1, V, (B, 5)), NO_LABEL)
    if task == "SEQ_CLS":
        return rng.integers(0, 3, B)
    if task == "QUESTION_ANS":
        return np.array([rng.choice(np.flatnonzero(row), 2) for row in real])
    if task == "TOKEN_CLS":
        return np.where(real, rng.integers(0, 3, mask.shape), NO_LABEL)
    labelled = (nth == 2) | (nth > 2) & (rng.random(mask.shape) < 0.7)
    return np.where(labelled, rng.integers(1, V, mask.shape), NO_LABEL)


def cases(family, task, method, rng):
    """Return {case: {ids, mask, types, labels}}.

    For features, whose loss is Σ pull ⊙ h, there is `pull` in place of labels.
    """
    found = {}
    for name in ("plain", "right", "left", "types"):
        if name == "types" and family != "bert" or listed(LEFT_OUT, family, task, method, name):
            continue
        ids, mask = texts(rng, name)
        found[name] = {"ids": ids} | ({"mask": mask} if name != "plain" else {})
        if name == "types":
            found[name]["types"] = rng.integers(0, 2, (B, T)) * mask
        if task == "FEATURE_EXTRACTION":
            pull = rng.normal(size=(B, T, 16)) * mask[..., None]
            found[name]["pull"] = pull.astype(np.float32)
        elif not listed(NO_LOSS, family, task, method, name):
            found[name]["labels"] = labels(rng, task, mask=mask)
    return found
