"""A model with an adaptation that reads one text, with the adaptation's template around it."""

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..autograd.backend import host
from ..methods.template import Layout, Template
from ..model.encoder_decoder import EncoderDecoder
from ..model.generate import generate
from ..model.heads import Classifier, SpanClassifier
from ..model.inputs import virtual_positions
from ..model.special_tokens import eos_ids
from ..model.transformer import Decoder, LanguageModel
from .recording import Pass


class Reader:
    """Model, adaptation, and text.

    words (T,): ids of the text.  laid (T',): ids in the template of γ.
    column (T',): the column of `words` that each of them is, or -1 for none.
    new: tokens after the text or, of an encoder–decoder, of the text that it writes.
    """

    def __init__(self, model, γ: Adaptation, ids: np.ndarray):
        """Put the template of a resolved γ around ids (T,), unless they have pseudo-tokens."""
        self.model, self.γ, real = model, γ, ids >= 0
        self.words, self.laid, self.new = ids[real], ids, np.zeros(0, int)
        self.column = np.where(real, np.cumsum(real) - 1, -1)
        self.writes = isinstance(model, EncoderDecoder)
        if real.all() and γ.template != "{x}":
            words = any(
                isinstance(piece, str) and piece.strip() for piece in Template(γ.template).pieces
            )
            if model.tokenizer is None and (words or self.writes):
                raise ValueError(
                    f"the adaptation has the template {γ.template!r}, and the model has no "
                    "tokenizer: set model.tokenizer, or give ids with the pseudo-tokens"
                )
            layout = Layout(γ.template, model.tokenizer, model)
            self.laid = np.array(layout(ids.tolist()))
            self.column = np.array(layout(list(range(len(ids))), -1))

    @property
    def room(self) -> int:
        """The number of new tokens that the model can read after the text; 0 if it writes none."""
        if not isinstance(self.model, Decoder | EncoderDecoder):
            return 0
        taken = 1 if self.writes else len(self.laid) + virtual_positions(self.model, self.γ)
        return max(0, self.model.config.length - taken)

    def generate(self, n: int) -> np.ndarray:
        """Return at most n tokens after the text, or of a text of its own, generated greedily."""
        if not n:
            return self.new
        model, eos = self.model, eos_ids(self.model, self.model.tokenizer)
        settings = {"max_new_tokens": n, "temperature": 0, "num_beams": 1, "eos": eos}
        return generate(model, self.laid[None], self.γ, **settings)[0]

    def read(self, **options) -> Pass:
        """Return the recorded pass of the text and the new tokens; for the options see Pass."""
        written = self.written if self.writes else None
        return Pass(self.model, self.ids, self.γ, written, **options)

    @property
    def ids(self) -> np.ndarray:
        """What the model reads: the text in its template, and a decoder's new tokens."""
        return np.concatenate([self.laid, self.new[: 0 if self.writes else None]])

    @property
    def written(self) -> np.ndarray:
        """What the decoder beside an encoder reads: its start, and the new tokens."""
        return np.concatenate([[self.model.config.decoder_start], self.new])

    def columns(self, stack: str = "") -> np.ndarray:
        """Return the base's column for each column that a stack reads, -1 for none."""
        if stack == "decoder":
            return np.arange(len(self.written))
        more = () if stack else np.arange(len(self.new)) + len(self.words)
        return np.concatenate([self.column, more]).astype(int)

    def rows(self, z: np.ndarray) -> np.ndarray:
        """Return those of the logits that the base has, too."""
        if isinstance(self.model, Classifier):
            return z
        read = self.columns("decoder" if self.writes else "") >= 0
        return z[:, read] if isinstance(self.model, SpanClassifier) else z[read]

    def loss(self, **options) -> float:
        """Return the loss of the text, in nats; of a classifier, that of its own answer.

        A text is what a decoder predicts of it, what a masked language model says of each token
        without masking any, or what an encoder–decoder has written.
        """
        log_p = log_softmax(self.rows(self.read(**options).logits))
        targets = np.concatenate([self.words, self.new])
        if self.writes:
            log_p, targets = log_p[:-1], self.new
        elif isinstance(self.model, Decoder):
            log_p, targets = log_p[:-1], targets[1:]
        elif not isinstance(self.model, LanguageModel):
            targets = self.rows(self.read().logits).argmax(-1)
        return float(-log_p[np.arange(len(targets)), targets].mean()) if len(targets) else 0.0

    def word(self, i: int) -> str:
        """Return a token id as text; the empty text for an id below 0."""
        if i < 0 or self.model.tokenizer is None:
            return "" if i < 0 else str(i)
        text = self.model.tokenizer.decode([int(i)], skip_special_tokens=False)
        broken = not text or "\N{REPLACEMENT CHARACTER}" in text
        return self.model.tokenizer.id_to_token(int(i)) if broken else text


def logsumexp(x) -> np.ndarray:
    """Return log Σ exp x along the last axis."""
    top = x.max(-1, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(-1, keepdims=True)))[..., 0]


def log_softmax(z) -> np.ndarray:
    """Return log softmax of logits along the last axis, in float64."""
    z = host(z).astype(float)
    return z - logsumexp(z)[..., None]


def kl(log_p, log_q) -> np.ndarray:
    """Return KL(p ‖ q) = Σ p (log p - log q), in nats, along the last axis."""
    return (np.exp(log_p) * (log_p - log_q)).sum(-1)
