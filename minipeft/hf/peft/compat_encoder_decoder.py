"""PEFT's forward pass of an encoder–decoder: docs/differences-from-peft.md.

B batch   P virtual tokens of a prompt   T tokens of the decoder's text   V vocabulary
"""

import numpy as np

from ...adaptation.adaptation import Front
from ...adaptation.cache import Cache
from ...adaptation.chain import Chain
from ...adaptation.forward import Forward
from ...autograd.functional import cross_entropy
from ...autograd.nn import replace
from ...autograd.tensor import Tensor
from ...model.generate import generate
from ...model.inputs import check_inputs, check_targets
from .compat import PeftModel, as_text, change_leaves, without_prompt


class PeftEncoderDecoder(PeftModel):
    """An encoder–decoder with an adaptation, which computes what PEFT and transformers compute.

    Every column of the encoder's text has a position, padding too.  A prompt of the decoder has
    outputs, and generation leaves it out.
    """

    def __call__(self, ids, *, decoder_ids, mask=None, rng=None) -> Tensor:
        """Return logits (B, P + T, V), where P is of the decoder's prompt."""
        model, inputs, γ, front = self.with_encoder_prompt(ids, mask, rng)
        decoder_inputs = model.check_decoder_ids(decoder_ids)
        if front:
            decoder_inputs, prompt = as_text(front, decoder_inputs, model.decoder.tokens, γ)
            γ = Chain(γ, prompt)
        return model.logits(*model.run(inputs, Cache(γ, keep=False), decoder_inputs))

    def loss(self, ids, labels, *, mask=None, rng=None, count=None) -> Tensor:
        """Return the mean cross-entropy of labels (B, T) that are not -100."""
        targets = self.model.targets(labels)
        z = self(ids, decoder_ids=self.model.shift_right(targets), mask=mask, rng=rng)
        P = z.shape[1] - targets.shape[1]
        targets = np.pad(targets, ((0, 0), (P, 0)), constant_values=-100)
        check_targets(targets, z.shape[:-1])
        return cross_entropy(z, targets, count or max(1, (targets >= 0).sum()))

    def generate(self, ids, *, mask=None, **options) -> np.ndarray:
        """Return new tokens; for the options see minipeft.generate."""
        model, inputs, γ, _ = self.with_encoder_prompt(ids, mask)
        return generate(model, inputs.ids, γ, mask=inputs.real, **options)

    def with_encoder_prompt(self, ids, mask=None, rng=None):
        """Return model, inputs, adaptation, and the Front of the decoder's prompt, or None."""
        model, γ = count_columns(self.model), self.adaptation.resolve(rng)
        inputs = check_inputs(model.config, ids, γ, mask)
        read, written = (
            γ.prepended(stack.tokens, len(inputs.ids)) for stack in (model.encoder, model.decoder)
        )
        γ = change_leaves(γ, without_prompt)
        if read:
            inputs, prompt = as_text(read, inputs, model.encoder.tokens, γ)
            γ = Chain(γ, prompt)
        return model, inputs, γ, written


def count_columns(model):
    """Return the model with the column of each row of the encoder's text as its position."""

    def encode(inputs, cache):
        columns = np.broadcast_to(np.arange(inputs.ids.shape[1]), inputs.ids.shape)
        forward = Forward(cache, model.encoder, inputs.real, all_rows=True, given_ids=columns)
        return Front([model.encoder.compute(inputs, forward)], forward.real, None)

    return replace(model, encode=encode)
