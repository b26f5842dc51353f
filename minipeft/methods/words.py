"""Words that virtual tokens start from: token ids, or text for the model's tokenizer."""

from dataclasses import replace
from numbers import Integral

import numpy as np

from ..adaptation.method import Method, check_attach, is_number, tupled


class FromWords(Method):
    """Method that may start from `words`: a text, token ids, or one of these for each label."""

    words: str | tuple

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "words", tupled(self.words))
        of_labels = isinstance(self.words, tuple) and all(map(are_words, self.words))
        if not (of_labels or are_words(self.words)):
            raise ValueError(
                f"{type(self).__name__}: words={self.words!r} must be a text or token ids, or one "
                "of these for each label"
            )

    def attach(self, model, rng=None):
        check_attach(model, rng)
        γ = super(FromWords, replace(self, words=token_ids(self.words, model))).attach(model, rng)
        γ.method = replace(γ.method, words=self.words)
        return γ


def are_words(words) -> bool:
    """Return whether words are a text, or a tuple of token ids."""
    is_id = lambda word: is_number(word, Integral)
    if isinstance(words, str):
        return words != ""
    return isinstance(words, tuple) and all(map(is_id, words))


def token_ids(words: str | tuple, model) -> tuple:
    """Return words with token ids in place of each text.

    A text is encoded as the model reads it, with special tokens; that of a label without.
    Raises ValueError if the model has no tokenizer, and for a text without tokens.
    """
    if not isinstance(words, str):
        encode = lambda word: word if not isinstance(word, str) else encoded(word, model, False)
        return tuple(map(encode, words))
    return encoded(words, model, True)


def encoded(text, model, special_tokens):
    """Return the token ids of a text."""
    if model.tokenizer is None:
        raise ValueError(
            f"words={text!r} is a text, and the model has no tokenizer: set model.tokenizer, or "
            "give token ids, such as words=(5, 8)"
        )
    if ids := model.tokenizer.encode(text, add_special_tokens=special_tokens).ids:
        return tuple(ids)
    raise ValueError(f"words={text!r} has no tokens: write words, or leave words= out")


def check_words(words, V: int) -> None:
    """Raise ValueError for token ids, or tuples of them, that are not below V."""
    ids = np.hstack(words)
    if ids.min() < 0 or ids.max() >= V:
        raise ValueError(f"words must be token ids from 0 to {V - 1}; got {words}")
