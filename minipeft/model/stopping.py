"""The end of a text: a token of eos, or a stopping string."""

import numpy as np

from .generation_config import GenerationConfig


class Stopping:
    """Which texts have ended, by the settings.

    tokenizer: turns tokens into text; needed for stop_strings.
    """

    def __init__(self, c: GenerationConfig, tokenizer=None):
        if c.stop_strings and tokenizer is None:
            raise ValueError("stop_strings need the tokenizer: tokenizer=mp.load_tokenizer(folder)")
        self.eos, self.strings, self.tokenizer = c.eos, c.stop_strings, tokenizer

    def __call__(self, history, n: int) -> np.ndarray:
        """Return whether each text (B, S), with n new tokens, has ended at the last one, (B,)."""
        ended = np.isin(history[:, -1], self.eos)
        if self.strings:
            texts = (self.new_text(row.tolist(), n) for row in history)
            ended |= [any(string in text for string in self.strings) for text in texts]
        return ended

    def new_text(self, row, n):
        """Return the text of the last n tokens; Llama's first may begin with a space."""
        decode = lambda ids: self.tokenizer.decode(ids, skip_special_tokens=False)
        before = row[-n - 1 : -n] if row[-n - 1] < self.tokenizer.get_vocab_size() else []
        return decode(before + row[-n:])[len(decode(before)) :]
