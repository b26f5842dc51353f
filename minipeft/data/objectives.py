"""Pretraining objectives: what a model reads of a text, and what it has to predict.

A causal language model predicts each token of `batches.passages` from those before it.
"""

from collections.abc import Sequence

import numpy as np

from .words import count

RATE = 0.15  # share of the tokens that are predicted: Devlin et al. 2019, §3.1
SPAN = 3  # mean length of a span in tokens: Raffel et al. 2020, §3.3.4


def mask_tokens(ids: np.ndarray, words: range, mask: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Return (inputs, labels) of token ids, of any shape        Devlin et al. 2019, §3.1

    15 % of the words have a label, others -100.  Of these 80 % are replaced by the mask, 10 % by a
    random word, and 10 % are unchanged.
    words: the ids of words; tokens with another id, such as [SEP], are never chosen.
    """
    random = rng.integers(words.start, words.stop, ids.shape)
    chosen = (rng.random(ids.shape) < RATE) & (words.start <= ids) & (ids < words.stop)
    how = rng.random(ids.shape)
    replaced = np.where(how < 0.8, mask, np.where(how < 0.9, random, ids))
    return np.where(chosen, replaced, ids), np.where(chosen, ids, -100)


def corrupt_spans(ids: Sequence[int], sentinels: Sequence[int], rng) -> tuple[list, list]:
    """Return (inputs, targets) of a text        Raffel et al. 2020, §3.1.4

    Spans are removed: 15 % of the tokens, in spans of 3 on average.  In the inputs a sentinel, the
    next one for each span, is in the place of a span; the targets are the spans, each after its
    sentinel, and one more sentinel: of a b c d e f, with the spans b c and f,

        a <0> d e <1>        <0> b c <1> f <2>

    A text begins with a token that is kept, and ends with a span, as in the code of the paper.
    Raises ValueError for fewer than two tokens, and for too few sentinels.
    """
    removed = max(1, round(RATE * len(ids)))
    spans = max(1, round(removed / SPAN))
    if len(ids) < 2 or len(sentinels) <= spans:
        raise ValueError(
            f"a text of {count(len(ids), 'token')} can't be corrupted with "
            f"{count(len(sentinels), 'sentinel')}: it needs at least two tokens, and {spans + 1} "
            "sentinels"
        )
    inputs, targets, at = [], [], 0
    lengths = (divide(n, spans, rng) for n in (len(ids) - removed, removed))
    for sentinel, kept, span in zip(sentinels, *lengths):
        inputs += [*ids[at : at + kept], sentinel]
        targets += [sentinel, *ids[at + kept : at + kept + span]]
        at += kept + span
    return inputs, [*targets, sentinels[spans]]


def divide(n: int, parts: int, rng) -> list[int]:
    """Return `parts` random positive integers with the sum n; all such lists are equally likely."""
    cuts = 1 + np.sort(rng.choice(n - 1, parts - 1, replace=False))
    return np.diff([0, *cuts, n]).tolist()


def split_prefixes(texts: Sequence[Sequence[int]], rng) -> tuple[list, list]:
    """Return the beginnings of texts, and how they go on        Raffel et al. 2020, §3.2.1

    All are cut after the same random number of tokens, so that texts of one length need no padding.
    In a prefix language model, attention within the beginning is bidirectional, and causal after
    it.  Raises ValueError for fewer than two tokens.
    """
    shortest = min(map(len, texts))
    if shortest < 2:
        raise ValueError(f"a text of {count(shortest, 'token')} can't be cut: give at least two")
    cut = int(rng.integers(1, shortest))
    return [text[:cut] for text in texts], [text[cut:] for text in texts]
