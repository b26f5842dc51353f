"""Search for label words: the words that a language model itself writes into the slot.

N texts   V vocabulary   C classes
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..methods.segments import continuation
from .classifier import PromptClassifier
from .verbalizer import Verbalizer, log_softmax

MOST = 100_000  # assignments of a word to each class that are tried


def find_words(
    prompted: PromptClassifier,
    examples: Sequence[tuple],
    adaptation: Adaptation | None = None,
    candidates: int = 10,
) -> Verbalizer:
    """Return the words, one for each class, that are right most often on (text, class) examples.

    The candidates of class y are the words of one token with the largest
    Σ_{x of class y} log p(w | x).  Of all assignments of candidates to classes, the one with the
    highest accuracy is taken, and of equal ones the likeliest.  Many candidates overfit few
    examples: of a hundred, some are right by chance.  There are fewer than `candidates` if that
    makes more than MOST assignments.  The words of `prompted` are not used.
    Gao et al. 2021, §5.1

    Raises ValueError if a class has no example, and for fewer candidates than classes.
    """
    labels, C = prompted.numbers_of_all(y for _, y in examples), len(prompted.classes)
    log_p = slot_log_p(prompted, [text for text, _ in examples], adaptation)
    ids = whole_words(prompted)
    scores = np.stack([log_p[labels == c][:, ids].sum(0) for c in range(C)])  # (C, words)
    if not C <= candidates <= len(ids):
        raise ValueError(
            f"candidates={candidates} must be from {C}, the number of classes, to {len(ids)}"
        )
    if (k := min(candidates, int(MOST ** (1 / C)))) < C:
        raise ValueError(f"{C} classes are too many to try all assignments: choose words by hand")
    likeliest = np.argsort(-scores, axis=1, kind="stable")[:, :k]

    def fit(words):
        right = (log_p[:, ids[list(words)]].argmax(1) == labels).sum()
        return right, scores[range(C), words].sum()

    best = max((words for words in product(*likeliest) if len({*words}) == C), key=fit)
    found = [prompted.tokenizer.decode([int(ids[w])]).strip() for w in best]
    return Verbalizer(dict(zip(prompted.classes, found)), "first")


def slot_log_p(
    prompted: PromptClassifier, texts: Sequence, adaptation: Adaptation | None = None
) -> np.ndarray:
    """Return log p (N, V) of the first token in the slot."""
    read = lambda rows, γ: log_softmax(prompted.slot.logits(rows, γ)).data
    return prompted.read(texts, adaptation, read, prompted.config.vocabulary)


def whole_words(prompted: PromptClassifier) -> np.ndarray:
    """Return the ids of tokens that are a word of letters in the place of the slot."""
    tokenizer, space, V = prompted.tokenizer, prompted.template.space, prompted.config.vocabulary
    texts = {i: tokenizer.decode([i]).strip() for i in range(min(V, tokenizer.get_vocab_size()))}
    return np.array(
        [
            i
            for i, text in texts.items()
            if text.isalpha() and continuation(tokenizer, space + text) == [i]
        ]
    )
