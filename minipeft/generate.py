"""Text from a language model, token by token, over a Memory."""

import numpy as np

from .adapt import PLAIN
from .backend import host
from .heads import pooling
from .reading import Memory
from .tensor import no_grad
from .transformer import Decoder, checked


def generate(
    model,
    ids,
    adapt=PLAIN,
    mask=None,
    max_new_tokens=32,
    temperature=0.0,
    top_k=0,
    eos=None,
    rng=None,
):
    """New tokens (B, N) after ids (B, T), padded anywhere where mask is 0.

    temperature 0 takes the likeliest token; above, `rng` draws one from softmax(z / temperature),
    of the top_k likeliest if top_k is given.  A row that has said `eos`, an id or one of several,
    goes on saying the first of them.
    """
    if not isinstance(model, Decoder):
        raise ValueError(f"a Decoder writes text, and this is of the class {type(model).__name__}")
    if temperature and rng is None:
        raise ValueError("drawing at a temperature needs a generator: rng=np.random.default_rng(0)")
    if max_new_tokens < 1 or temperature < 0 or top_k < 0:
        raise ValueError("max_new_tokens is at least 1, temperature and top_k are at least 0")
    ids, mask = checked(ids, mask, model.config.vocabulary, adapt)
    last, _ = pooling("last", mask)
    memory, new = Memory(adapt), []
    done, ends = np.zeros(len(ids), bool), np.atleast_1d([] if eos is None else eos)
    with no_grad():
        z = model(ids, mask=mask, memory=memory, rows=last).data[:, 0]
        while True:
            token = pick(z, temperature, top_k, rng)
            token = np.where(done, ends[0], token) if len(ends) else token
            new.append(token)
            done |= np.isin(token, ends)
            if len(new) == max_new_tokens or done.all():
                return np.stack(new, 1)
            z = model(token[:, None], memory=memory).data[:, 0]


def pick(z, temperature, top_k, rng):
    """One token for each row of logits z (B, V)."""
    if not temperature:
        return host(z.argmax(-1))
    z = host(z)
    if top_k:
        z = np.where(z < np.sort(z, -1)[:, -top_k:][:, :1], -np.inf, z)
    noise = rng.gumbel(size=z.shape)  # argmax(z/τ + Gumbel) ~ softmax(z/τ)
    return (z / temperature + noise).argmax(-1)
