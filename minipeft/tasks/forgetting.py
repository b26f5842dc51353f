"""What an adaptation forgets: the rise of the loss on general text        McCloskey & Cohen 1989

N passages   T tokens
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..data.files import DataError, read_prose
from ..data.objectives import corrupt_spans
from ..methods.template import IGNORED
from ..model.encoder_decoder import EncoderDecoder
from ..model.transformer import LanguageModel
from ..training.parallel import map_batches
from ..world.corpus import documents
from ..world.vocabulary import END, MASK, SENTINELS
from .base import Task, extra_positions

PASSAGES, LENGTH = 16, 128  # of a general text, at most; the length is in tokens
CHARACTERS = 10**6  # of a text, at most: to encode them takes a second
BATCH = 4  # passages that are read together: their logits are (4, 128, V)
SEED = 2  # of documents that no built-in base was trained on
MASKED = 0.15  # share of words that a masked language model predicts: Devlin et al. 2019, §3.1


@dataclass(frozen=True, eq=False)
class GeneralText:
    """Held-out passages of general text, and the frozen language model that reads them."""

    base: LanguageModel
    ids: np.ndarray  # (N, T), masked for an encoder
    labels: np.ndarray  # (N, T): what is predicted, or IGNORED

    @cached_property
    def base_loss(self) -> float:
        """The mean loss of the base without an adaptation, in nats per token."""
        return mean_loss(self.base, self.ids, self.labels)


def mean_loss(
    model: LanguageModel,
    ids: np.ndarray,
    labels: np.ndarray,
    select: Callable[[list], Adaptation] = lambda rows: PLAIN,
    size: int = BATCH,
    progress: Callable = iter,
) -> float:
    """Return the mean loss of the labels of ids (N, T).

    select: returns the adaptation of some rows.  size, progress: see `map_batches`.
    """

    def losses(rows):
        loss = model.loss(ids[rows], labels[rows], select(rows), count=1)
        return [float(loss) / len(rows)] * len(rows)

    total = sum(map_batches(losses, ids, size, progress))
    return total / max(1, int((model.targets(labels) >= 0).sum()))


def general_text(base, tokenizer: Tokenizer, path: Path | None = None) -> GeneralText | None:
    """Return passages of a file or, for a built-in base, of new documents of its world.

    None for another base without a file, and for a base that does not predict words.
    Raises DataError for a file that can't be used: it has too few tokens, is not text, or the base
    does not predict words.
    """
    corrupt = corruption(base, tokenizer)
    if corrupt is None:
        if path:
            raise DataError(
                f"{path}: general text needs a base that predicts words, and this "
                f"{type(base).__name__} does not: leave it out"
            )
        return None
    if path is None and base.folder:
        return None
    length = min(LENGTH, base.config.length // 2)  # the rest is for prompts
    encodings = split(read_prose(path) if path else new_documents(), length, tokenizer)
    if not encodings:
        raise DataError(f"{path}: fewer than {length} tokens, which one passage has: use more text")
    return GeneralText(base, *map(np.array, zip(*map(corrupt, encodings))))


def corruption(base, tokenizer: Tokenizer) -> Callable[[Encoding], tuple] | None:
    """Return f(passage), the ids and labels of what the base predicts in it; None: nothing.

    A decoder predicts each token, an encoder masked words, and an encoder–decoder writes spans.
    """
    rng, mask = np.random.default_rng(SEED), tokenizer.token_to_id(MASK)
    sentinels = [tokenizer.token_to_id(name) for name in SENTINELS]
    if isinstance(base, EncoderDecoder):
        return None if None in sentinels else partial(spans, sentinels=sentinels, rng=rng)
    if not isinstance(base, LanguageModel) or not base.causal and mask is None:
        return None
    return every_token if base.causal else partial(masked_words, mask=mask, rng=rng)


def every_token(passage: Encoding) -> tuple:
    """Return ids and labels of a passage in which each token but the first is predicted."""
    return passage.ids, [IGNORED, *passage.ids[1:]]


def masked_words(passage: Encoding, mask: int, rng) -> tuple:
    """Return ids and labels of a passage in which some words are masked."""
    ids, special = np.array(passage.ids), np.array(passage.special_tokens_mask)
    masked = (special == 0) & (rng.random(ids.shape) < MASKED)
    return np.where(masked, mask, ids), np.where(masked, ids, IGNORED)


def spans(passage: Encoding, sentinels: list, rng) -> tuple:
    """Return ids and labels of a passage whose spans are written; both end as the passage does."""
    *text, end = passage.ids
    return tuple([*row, end] for row in corrupt_spans(text, sentinels, rng))


def new_documents() -> str:
    """Return documents of the built-in world, joined as in pretraining."""
    return END.join(islice(documents(np.random.default_rng(SEED)), 8 * PASSAGES))


def split(text: str, length: int, tokenizer: Tokenizer) -> list[Encoding]:
    """Return at most PASSAGES passages of a text, evenly spaced, each with special tokens.

    They are of its first million characters.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    first = tokenizer.encode(text[:CHARACTERS])
    passages = [e for e in (first, *first.overflowing) if len(e.ids) == length]
    n = min(PASSAGES, len(passages))
    return [passages[i * len(passages) // n] for i in range(n)]


def forgetting(task: Task, adaptation: Adaptation, text: GeneralText | None) -> float | None:
    """Return the rise of the loss on general text with the adaptation, in nats per token.

    The text is read by the base with its own head, behind the adaptation's prompt and in its
    template.  Of a bank of users, passage i is read by user i.
    None without a text, and where the adaptation leaves no room for a passage.
    """
    if text is None:
        return None
    layout = task.layout(adaptation)
    needed = text.ids.shape[1] + extra_positions(text.base, adaptation, layout)
    if needed > text.base.config.length:
        return None
    ids = np.array([layout(row) for row in text.ids])
    labels = text.labels
    if not isinstance(text.base, EncoderDecoder):  # whose labels are another text
        labels = np.array([layout(row, IGNORED) for row in labels])
    return mean_loss(text.base, ids, labels, partial(task.select, adaptation)) - text.base_loss
