"""Generation of text by a language model, token by token, with a KV cache."""

from collections.abc import Iterator
from typing import Literal, overload

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.cache import Cache
from ..autograd.backend import host
from .beam import beam_search
from .encoder_decoder import EncoderDecoder
from .generation_config import generation_config
from .inputs import as_array, check_inputs, check_not_empty
from .logits import process, warp
from .special_tokens import bos_id
from .stopping import Stopping
from .transformer import Decoder


@overload
def generate(
    model: Decoder | EncoderDecoder,
    ids,
    adaptation: Adaptation | None = ...,
    *,
    stream: Literal[True],
    **settings,
) -> Iterator[np.ndarray]: ...


@overload
def generate(
    model: Decoder | EncoderDecoder, ids, adaptation: Adaptation | None = ..., **settings
) -> np.ndarray: ...


def generate(
    model: Decoder | EncoderDecoder,
    ids,
    adaptation: Adaptation | None = None,
    *,
    mask=None,
    rng: np.random.Generator | None = None,
    tokenizer=None,
    stream: bool = False,
    **settings,
) -> np.ndarray | Iterator[np.ndarray]:
    """Return new tokens (B, N), N ≤ max_new_tokens, after the texts ids (B, T).

    An EncoderDecoder reads the texts, and its new tokens are texts of their own.
    ids: (B, 0): the texts start from the bos_token_id of the model's folder.
    mask (B, T): False at padding, on any side.
    rng: the generator of sampling, needed for temperature above 0.
    tokenizer: needed for stop_strings.
    stream: return an iterator of the tokens (B,) as they come, instead of the array.
    settings: fields of GenerationConfig, such as max_new_tokens=60, temperature=0.7 or num_beams=4.
    What is left out is what generation_config.json of the model's folder says, or else the default.

    Greedy and beam search give the tokens of transformers 5.23.0; padding changes no text.
    Raises ValueError for a model that can't generate, for empty texts without a bos_token_id, and
    for settings that are out of range or not supported; TypeError for unknown settings.
    """
    if not isinstance(model, Decoder | EncoderDecoder):
        raise ValueError(
            f"generate needs a Decoder or an EncoderDecoder, not a {type(model).__name__}"
        )
    ids = as_array("ids", ids)
    if ids.ndim == 2 and len(ids) and not ids.size:
        ids, mask = np.full((len(ids), 1), first_id(model)), None
    cache = Cache(adaptation)
    inputs = check_inputs(model.config, ids, cache.adaptation, mask)
    check_not_empty(inputs.real)
    history = tokens_so_far(inputs, model.config)
    c = generation_config(model, history.shape[1], **settings)
    if c.temperature and rng is None:
        raise ValueError(
            f"temperature={c.temperature} needs a generator: rng=np.random.default_rng(0); "
            "temperature=0 takes the most likely token"
        )
    stopping = Stopping(c, tokenizer)
    if c.num_beams > 1:
        if stream:
            raise ValueError(
                f"stream=True does not go with num_beams={c.num_beams}: a beam search knows its "
                "tokens only at the end"
            )
        return beam_search(model, inputs, cache, history, c, stopping, rng)
    tokens = next_tokens(model, inputs, cache, history, c, stopping, rng)
    return tokens if stream else np.stack([*tokens], 1)


def tokens_so_far(inputs, c) -> np.ndarray:
    """Return the tokens that new ones follow, at the right of (B, S), with V for padding.

    c: the Config of the model.  Those of an EncoderDecoder follow its decoder_start.
    """
    if c.decoder_layers:
        return np.full((len(inputs.ids), 1), c.decoder_start)
    order = np.argsort(inputs.real, axis=1, kind="stable")
    known = inputs.real & (inputs.ids >= 0)  # a pseudo-token is no token of the vocabulary
    return np.take_along_axis(np.where(known, inputs.ids, c.vocabulary), order, 1)


def next_tokens(model, inputs, cache, history, c, stopping, rng):
    """Yield the next tokens (B,), until all texts have ended."""
    ended = np.zeros(len(history), bool)
    z = model.first_logits(inputs, cache)
    for n in range(c.max_new_tokens):
        token = sample(process(host(z), history, n, c), c, rng)
        token = np.where(ended, c.pad, token)
        history = np.concatenate([history, token[:, None]], 1)
        ended |= stopping(history, n + 1)
        yield token
        if ended.all():
            return
        if n + 1 < c.max_new_tokens:
            z = model.next_logits(token[:, None], cache)


def sample(z, c, rng):
    """Return one token (B,) for each row of logits z (B, V)."""
    if c.temperature:
        z = warp(z, c) + rng.gumbel(size=z.shape)  # argmax(z/τ + Gumbel noise) ~ softmax(z/τ)
    return z.argmax(-1)


def first_id(model):
    """Return the id that begins a text; raise ValueError if the model names none."""
    if (bos := bos_id(model)) is None:
        raise ValueError(
            "the texts are empty, and the model names no token that begins a text, bos_token_id in "
            "config.json: start each from an id, such as ids=[[5]]"
        )
    return bos
