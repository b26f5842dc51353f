"""Encoder–decoders: T5, Raffel et al. 2020, and BART, Lewis et al. 2020.

B batch   S tokens of the text that is read   T tokens of the text that is written   D width
V vocabulary
"""

from dataclasses import replace
from functools import partial

import numpy as np

from ..adaptation.adaptation import Adaptation, Front, check_model
from ..adaptation.cache import Cache
from ..adaptation.forward import Forward
from ..adaptation.method import PLAIN
from ..autograd import nn
from ..autograd.tensor import Tensor, no_grad
from .config import Config
from .inputs import Inputs, check_inputs, check_labels, labelled_positions
from .transformer import LanguageModel, Transformer, check_cache, new_head

T5Config = partial(
    Config,
    positions="relative",
    norm="rms",
    eps=1e-6,
    activation="relu",
    biases=(),
    causal=False,
    scaled_attention=False,
    scaled_head=True,
)
BartConfig = partial(
    Config, position_offset=2, activation="gelu", post_norm=True, causal=False, decoder_start=2
)


class EncoderDecoder(LanguageModel):
    """Encoder, which reads a text, and decoder, which writes another        Raffel et al. 2020, §2

    Each stack has its own embedding layer, encoder.tokens and decoder.tokens, over one tensor.
    """

    causal = False  # the encoder, which reads `ids`

    def __init__(self, config: Config, rng: np.random.Generator):
        if not config.decoder_layers:
            raise ValueError("an EncoderDecoder needs decoder_layers of at least 1")
        self.config = config
        self.encoder = Transformer(config, rng)
        causal = replace(config, causal=True, layers=config.decoder_layers)
        self.decoder = Transformer(causal, rng, cross=True)
        self.decoder.tokens.W = self.encoder.tokens.W
        self.head = new_head(self.decoder, rng)
        self.freeze()

    tokens = property(lambda self: self.encoder.tokens)
    blocks = property(lambda self: self.encoder.blocks)

    def __call__(
        self, ids, adaptation: Adaptation | None = None, *, decoder_ids, **inputs
    ) -> Tensor:
        """Return logits (B, T, V), or (B, R, V) at `positions`; for the arguments see `states`."""
        return self.logits(*self.states(ids, adaptation, decoder_ids=decoder_ids, **inputs))

    def states(
        self,
        ids,
        adaptation: Adaptation | None = None,
        *,
        decoder_ids,
        mask=None,
        decoder_mask=None,
        positions=None,
        cache: Cache | None = None,
        rng=None,
    ) -> tuple[Tensor, Forward]:
        """Return the last hidden states (B, T, D) of the decoder, and its Forward.

        ids (B, S): token ids that the encoder reads; with a cache that has read a text, they are
        ignored.
        decoder_ids (B, T): token ids that the decoder reads, usually `decoder_start` first; with a
        cache those that follow the tokens in the cache.
        mask (B, S), decoder_mask (B, T): True or 1 at tokens, False or 0 at padding, on any side.
        positions (B, R): columns of decoder_ids to return; None: all.
        cache, rng, and errors: see Transformer.states.
        """
        cache = check_cache(cache, adaptation, rng)
        inputs = check_inputs(self.config, ids, cache.adaptation, mask)
        return self.run(inputs, cache, self.check_decoder_ids(decoder_ids, decoder_mask), positions)

    def check_decoder_ids(self, ids, mask=None):
        """Return checked Inputs of the decoder; raise ValueError for ids that it can't read."""
        return check_inputs(self.config, ids, PLAIN, mask, name="decoder_ids")

    def run(self, inputs: Inputs, cache: Cache, decoder_inputs: Inputs, positions=None):
        """Return what `states` returns, for inputs that `check_inputs` returned."""
        check_model(cache.adaptation, self)
        if len(inputs.ids) != len(decoder_inputs.ids):
            raise ValueError(
                "ids and decoder_ids differ in batch size: "
                f"{inputs.ids.shape}, {decoder_inputs.ids.shape}"
            )
        if cache.source is None:
            cache.source = self.encode(inputs, nn.replace(cache, keep=False))
        forward = Forward(cache, self.decoder, decoder_inputs.real, positions=positions)
        return self.decoder.compute(decoder_inputs, forward), forward

    def encode(self, inputs: Inputs, cache: Cache) -> Front:
        """Return the last hidden states of the encoder, those of its prompt too."""
        forward = Forward(cache, self.encoder, inputs.real, all_rows=True)
        return Front([self.encoder.compute(inputs, forward)], forward.real, None)

    def logits(self, h, forward):
        if self.config.scaled_head:
            h = h * self.config.width**-0.5
        return forward(self.head, h)

    def keys_and_values(self, ids, adaptation=None):
        """Return {path of an attention: [k, v]} where both stacks read texts ids (B, S)."""
        inputs = check_inputs(self.config, ids, PLAIN)
        read, written = Cache(adaptation), Cache(adaptation)
        written.source = self.encode(inputs, read)
        self.run(inputs, written, inputs)
        return {path: front.rows for path, front in (read.kv | written.kv).items()}

    # -- training

    def targets(self, labels, mask=None):
        """Return labels (B, T), which the decoder predicts; raise ValueError for others.

        A label is a token id, or -100 for none.  mask is that of the ids, and not used.
        """
        return check_labels(labels, None, self.config.vocabulary)[0]

    def labelled_logits(
        self, ids, targets, adaptation=None, *, mask=None, token_types=None, rng=None
    ):
        cache = Cache(adaptation, rng, keep=False)
        inputs = check_inputs(self.config, ids, cache.adaptation, mask, token_types)
        decoder_inputs = self.check_decoder_ids(self.shift_right(targets))
        positions, targets = labelled_positions(targets)
        return self.logits(*self.run(inputs, cache, decoder_inputs, positions)), targets

    def shift_right(self, labels) -> np.ndarray:
        """Return what the decoder reads, (B, T): `decoder_start`, then all labels but the last.

        A label of -100 is read as the padding token.
        """
        start, padding = self.config.decoder_start, self.folder_settings.get("pad_token_id")
        filled = np.where(labels < 0, start if padding is None else padding, labels)
        return np.concatenate([np.full((len(labels), 1), start), filled[:, :-1]], 1)

    # -- generation

    def first_logits(self, inputs: Inputs, cache: Cache) -> np.ndarray:
        """Return the logits (B, V) of the token after `decoder_start`, without a graph."""
        start = np.full((len(inputs.ids), 1), self.config.decoder_start)
        with no_grad():
            return self.logits(*self.run(inputs, cache, self.check_decoder_ids(start))).data[:, 0]

    def next_logits(self, ids, cache: Cache) -> np.ndarray:
        """Return the logits (B, V) of the token after one more token of each text, ids (B, 1)."""
        with no_grad():
            inputs = self.check_decoder_ids(ids)  # the cache has what the encoder read
            return self.logits(*self.run(inputs, cache, inputs)).data[:, 0]
