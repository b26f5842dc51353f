"""How a language model reads the slot of a template, and scores the words that may stand in it.

B texts   T tokens   W words   V vocabulary
"""

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.cache import Cache
from ..autograd.functional import log_probability
from ..autograd.ops import concat, index, reshape, sum
from ..autograd.tensor import Tensor
from ..data.batches import pad, pad_answers
from ..methods.segments import SLOT, mask_id
from ..methods.template import IGNORED
from ..model.bert import MaskedLM
from ..model.encoder_decoder import EncoderDecoder
from ..model.inputs import labelled_positions
from ..model.special_tokens import bos_id
from ..model.transformer import Decoder
from .verbalizer import log_softmax

SHARED = 16  # tokens: a shorter beginning is not worth a forward pass of its own
SENTINEL = "<extra_id_0>"  # T5's encoder reads it in place of a span of words


class Slot:
    """Slot of rows of token ids with one SLOT each, for a model and a template of this shape."""

    def __init__(self, model, tokenizer, shape: str):
        self.model, self.tokenizer, self.shape = model, tokenizer, shape

    def logits(self, rows: list, adaptation: Adaptation, rng=None) -> Tensor:
        """Return the logits (B, V) of the first token in the slot."""
        raise NotImplementedError

    def spell(self, rows: list, words: list, adaptation: Adaptation, rng=None) -> Tensor:
        """Return log p (B, W) of words, lists of token ids, token by token."""
        raise NotImplementedError

    def log_p(self, rows: list, words: list, adaptation: Adaptation, rng=None) -> Tensor:
        """Return log p (B, W) of words, lists of token ids, in the slot of each row."""
        if all(len(word) == 1 for word in words) and self.is_last(rows):
            log_p = log_softmax(self.logits(rows, adaptation, rng))
            return index(log_p, (slice(None), np.array([i for (i,) in words])))
        return self.spell(rows, words, adaptation, rng)

    def is_last(self, rows: list) -> bool:
        """Return whether a word of one token is scored by the logits at the slot alone."""
        return True

    def lengths(self, rows: list, words: list) -> np.ndarray:
        """Return how many tokens are scored for each word, (B, W)."""
        return np.tile([len(word) for word in words], (len(rows), 1))


class DecoderSlot(Slot):
    """The tokens before the slot predict the word, and with the word what follows the slot.

    A beginning that all rows share, such as examples in context, is read once.
    """

    def logits(self, rows, adaptation, rng=None):
        shared, texts = divide([*map(self.context, rows)], adaptation, rng)
        positions = np.array([[len(text) - 1] for text in texts])
        z = self.read(shared, *pad(texts), positions, adaptation, rng)
        return reshape(z, (len(rows), z.shape[-1]))

    def context(self, row: list[int]) -> list[int]:
        """Return the ids before the slot, at least one: else the token that begins a text."""
        if ids := row[: row.index(SLOT)]:
            return ids
        if (bos := bos_id(self.model, self.tokenizer)) is None:
            raise ValueError(
                "nothing comes before the slot, and the model has no token that begins a text: "
                "write words before [MASK]"
            )
        return [bos]

    def is_last(self, rows):
        return all(row[-1] == SLOT for row in rows)

    def lengths(self, rows, words):
        after = [len(row) - row.index(SLOT) - 1 for row in rows]
        return super().lengths(rows, words) + np.array(after)[:, None]

    def spell(self, rows, words, adaptation, rng=None):
        shared, contexts = divide([*map(self.context, rows)], adaptation, rng)
        backs = [row[row.index(SLOT) + 1 :] for row in rows]
        pairs = [(c, word + back) for c, back in zip(contexts, backs) for word in words]
        ids, labels, mask = pad_answers(pairs)
        positions, targets = labelled_positions(self.model.targets(labels, mask))
        each = adaptation.of(np.repeat(np.arange(len(rows)), len(words)))
        z = self.read(shared, ids, mask, positions, each, rng)
        return reshape(sum(log_probability(z, targets), axis=1), (len(rows), len(words)))

    def read(self, shared, ids, mask, positions, adaptation, rng):
        """Return the logits (B, R, V) at positions (B, R) of ids (B, T), which follow `shared`."""
        if not shared:
            return self.model(ids, adaptation, mask=mask, positions=positions, rng=rng)
        one, cache = Cache(adaptation.of([0])), Cache(adaptation)
        self.model([shared], cache=one)
        cache.fill(one, len(ids))
        return self.model(ids, mask=mask, positions=positions, cache=cache)


def divide(contexts: list, adaptation: Adaptation, rng) -> tuple[list[int], list]:
    """Return the ids that all rows begin with, and the others of each row, at least one.

    Nothing counts as shared if it is short, or if rows have adaptations or dropout of their own.
    """
    if rng is not None or not adaptation.shared:
        return [], contexts
    first, last = min(contexts), max(contexts)  # in alphabetical order: all others lie between
    n = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), len(first))
    n = min(n, *(len(ids) - 1 for ids in contexts), len(first) - 1)
    return (first[:n], [ids[n:] for ids in contexts]) if n >= SHARED else ([], contexts)


class EncoderSlot(Slot):
    """Mask tokens are in the slot, as many as the word has tokens, each predicted by itself."""

    def masked(self, rows, n, adaptation, rng):
        """Return the logits (B, n, V) of the n mask tokens in the slot."""
        mask_token, starts = [mask_id(self.tokenizer)] * n, [row.index(SLOT) for row in rows]
        ids, mask = pad([row[:i] + mask_token + row[i + 1 :] for row, i in zip(rows, starts)])
        positions = np.array(starts)[:, None] + np.arange(n)
        return self.model(ids, adaptation, mask=mask, positions=positions, rng=rng)

    def logits(self, rows, adaptation, rng=None):
        z = self.masked(rows, 1, adaptation, rng)
        return reshape(z, (len(rows), z.shape[-1]))

    def spell(self, rows, words, adaptation, rng=None):
        lengths = [len(word) for word in words]
        z = {n: self.masked(rows, n, adaptation, rng) for n in {*lengths}}
        targets = [np.tile(word, (len(rows), 1)) for word in words]
        log_p = [sum(log_probability(z[n], y), axis=1) for n, y in zip(lengths, targets)]
        return concat(*(reshape(column, (len(rows), 1)) for column in log_p), axis=1)


class EncoderDecoderSlot(Slot):
    """The encoder reads the template, and the decoder writes the word.

    A slot that is not at the end is T5's sentinel, which the decoder writes before the word:
    Raffel et al. 2020, §3.1.4.
    """

    def __init__(self, model, tokenizer, shape):
        super().__init__(model, tokenizer, shape)
        self.begin = [] if shape == "prefix" else [tokenizer.token_to_id(SENTINEL)]
        if self.begin == [None]:
            raise ValueError(
                f"the tokenizer has no {SENTINEL}, which an encoder–decoder needs for a slot "
                "inside a template: write [MASK] at the end"
            )

    def read(self, rows, words, adaptation, rng):
        """Return the logits (B W, R, V) of the tokens of words, and the targets (B W, R)."""
        texts = [[i for id in row for i in (self.begin if id == SLOT else [id])] for row in rows]
        ids, mask = pad([text for text in texts for _ in words])
        labels = pad([self.begin + word for word in words] * len(rows), IGNORED)[0]
        targets = np.where(np.arange(labels.shape[1]) < len(self.begin), IGNORED, labels)
        positions, targets = labelled_positions(targets)
        each = adaptation.of(np.repeat(np.arange(len(rows)), len(words)))
        decoder_ids = self.model.shift_right(labels)
        z = self.model(ids, each, mask=mask, decoder_ids=decoder_ids, positions=positions, rng=rng)
        return z, targets

    def logits(self, rows, adaptation, rng=None):
        z, _ = self.read(rows, [[0]], adaptation, rng)  # any word: it is not read
        return reshape(z, (len(rows), z.shape[-1]))

    def spell(self, rows, words, adaptation, rng=None):
        log_p = log_probability(*self.read(rows, words, adaptation, rng))
        return reshape(sum(log_p, axis=1), (len(rows), len(words)))


SLOTS = {Decoder: DecoderSlot, MaskedLM: EncoderSlot, EncoderDecoder: EncoderDecoderSlot}


def slot_of(model, tokenizer, shape: str) -> Slot:
    """Return the slot of a language model; raise TypeError for another network."""
    for network, slot in SLOTS.items():
        if isinstance(model, network):
            return slot(model, tokenizer, shape)
    raise TypeError(
        "a template with a slot needs a language model: a decoder, a masked language model or an "
        f"encoder–decoder; got {type(model).__name__}"
    )
