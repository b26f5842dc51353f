"""What `inspect` returns, as dataclasses of arrays.

L layers   R rows: virtual tokens and text   T tokens of the text   W words   S scales
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..adaptation.adaptation import Adaptation
from .panel import Panel


@dataclass
class Stack:
    """Hidden states of one stack of blocks, of an encoder or of a decoder.

    tokens, kinds: of the R rows; a kind is "virtual", "template", "text" or "new" (generated).
    places: the embedding, and the paths of the L blocks.
    change, norm (R, L + 1): ‖h′ − h‖ and ‖h‖ of the input of the first block and the outputs of
    the blocks; NaN at rows that the base does not have.
    received (R, L): attention from the text to each row, a mean over heads and queries.
    lens, base_lens (R, L + 1): the id of the word that each layer would say, or -1; None without a
    language model's head        Belrose et al. 2023, §2
    """

    tokens: list[str]
    kinds: list[str]
    places: list[str]
    change: np.ndarray
    norm: np.ndarray
    received: np.ndarray
    lens: np.ndarray | None = None
    base_lens: np.ndarray | None = None

    @property
    def relative_change(self) -> np.ndarray:
        """‖h′ − h‖ / ‖h‖, (R, L + 1)."""
        return self.change / self.norm


@dataclass
class Outputs:
    """Distributions after each token, or of each output of a head.

    rows: the tokens after which these are, or the names of the outputs.
    words, base_words (T, 5): ids of the likeliest words, adapted and base.
    p, base_p (T, 10): what both models give to words and then base_words.
    kl (T,): Σ p′ log(p′/p), in nats, of the adapted distribution p′ and that of the base, p.
    at: the row of the text's last token.
    per_token: whether these are words after tokens; False: outputs of a head for the whole text.
    """

    rows: list[str]
    words: np.ndarray
    base_words: np.ndarray
    p: np.ndarray
    base_p: np.ndarray
    kl: np.ndarray
    at: int
    per_token: bool


@dataclass
class Causes:
    """Log-probabilities of words with γ at one place alone, and everywhere but there.

    words (W,): ids, after the text.  places: the G places where γ acts.
    base, adapted (W,): without γ, and with it.  only, without (G, W).
    """

    words: np.ndarray
    places: list[str]
    base: np.ndarray
    adapted: np.ndarray
    only: np.ndarray
    without: np.ndarray


@dataclass
class Slider:
    """γ scaled by each of S numbers s: what comes after the text.

    words, p (S, 5): the likeliest words and their probabilities.  kl (S,): to the base.
    change (S, L + 1): the mean relative change of the text's hidden states, of the last stack.
    how: "additive", where y + s (γ(y) - y) is exact; "gate", where exp(score) of virtual tokens is
    multiplied by s; or "both".
    """

    scales: Sequence[float]
    words: np.ndarray
    p: np.ndarray
    kl: np.ndarray
    change: np.ndarray
    how: str


@dataclass
class View:
    """What one adaptation does.  at: {place: {path: number of parameters}}."""

    adaptation: Adaptation
    params: int
    at: dict[str, dict[str, int]]
    stacks: dict[str, Stack]
    outputs: Outputs | None
    causes: Causes | None
    slider: Slider | None
    panels: list[Panel]


@dataclass
class Inspection:
    """What adaptations of one model do to one text.

    ids (T,): the text, without virtual tokens.  new: the number of tokens at the end of the text,
    or of the decoder's text, that the first adaptation has generated.
    together: the largest difference of the logits of each adaptation alone and in one batch; None
    for one adaptation.
    """

    model: object
    ids: np.ndarray
    new: int
    views: list[View]
    together: float | None
