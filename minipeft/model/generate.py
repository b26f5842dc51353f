"""Generation of text by a language model, token by token, with a KV cache."""

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.cache import Cache
from ..autograd.backend import host
from ..autograd.tensor import no_grad
from .heads import pooling
from .inputs import as_array, check_inputs
from .special_tokens import bos_id
from .transformer import Decoder


def generate(
    model: Decoder,
    ids,
    adaptation: Adaptation | None = None,
    *,
    mask=None,
    max_new_tokens: int = 32,
    temperature: float = 0.0,
    top_k: int = 0,
    eos=None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Return new tokens (B, N), N ≤ max_new_tokens, after the texts ids (B, T).

    ids: (B, 0): the texts start from the bos_token_id of the model's folder.
    mask (B, T): False at padding, on any side.
    temperature: 0: take the most likely token; above 0: draw from softmax(z / temperature) by rng.
    top_k: draw only from the top_k most likely tokens; 0: from all.
    eos: a token id or a list of them, at which a text ends, such as eos_ids(model, tokenizer).
    After its end, a text repeats the first of them.
    Raises ValueError for a model that is not a Decoder, for empty texts without a bos_token_id, and
    for arguments out of range.
    """
    if not isinstance(model, Decoder):
        raise ValueError(f"generate needs a Decoder, not a {type(model).__name__}")
    if max_new_tokens < 1 or temperature < 0 or top_k < 0:
        raise ValueError(
            "max_new_tokens must be at least 1, temperature and top_k at least 0; got "
            f"{max_new_tokens}, {temperature} and {top_k}"
        )
    if temperature and rng is None:
        raise ValueError("temperature above 0 needs a generator: rng=np.random.default_rng(0)")
    ends = np.atleast_1d([] if eos is None else eos)
    if len(ends) and ends.dtype.kind not in "iu":
        raise ValueError(f"eos={eos!r:.40} must be a token id, or a list of them")
    cache, new = Cache(adaptation), []
    ids = as_array("ids", ids)
    if ids.ndim == 2 and len(ids) and not ids.size:
        ids, mask = np.full((len(ids), 1), first_id(model)), None
    inputs = check_inputs(model.config, ids, cache.adaptation, mask)
    last, _ = pooling("last", inputs.real)
    ended = np.zeros(len(inputs.ids), bool)
    with no_grad():
        z = model.logits(*model.run(inputs, cache, last)).data[:, 0]
        while True:
            token = sample(z, temperature, top_k, rng)
            token = np.where(ended, ends[0], token) if len(ends) else token
            new.append(token)
            ended |= np.isin(token, ends)
            if len(new) == max_new_tokens or ended.all():
                return np.stack(new, 1)
            z = model(token[:, None], cache=cache).data[:, 0]


def first_id(model):
    """Return the id that begins a text; raise ValueError if the model names none."""
    if (bos := bos_id(model)) is None:
        raise ValueError(
            "the texts are empty, and the model names no token that begins a text, bos_token_id in "
            "config.json: start each from an id, such as ids=[[5]]"
        )
    return bos


def sample(z, temperature, top_k, rng):
    """Return one token (B,) for each row of logits z (B, V), as an array on the host."""
    if not temperature:
        return host(z.argmax(-1))
    z = host(z)
    if top_k:
        z = np.where(z < np.sort(z, -1)[:, -top_k:][:, :1], -np.inf, z)
    noise = rng.gumbel(size=z.shape)  # argmax(z/τ + Gumbel noise) ~ softmax(z/τ)
    return (z / temperature + noise).argmax(-1)
