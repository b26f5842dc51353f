"""Equations of attention, and usual slips: prefixes, their weight λ, positions, a KV cache.

T queries   S keys   d width of a head   P virtual tokens   B texts
"""

import numpy as np

from ...adaptation.forward import position_ids
from ...autograd.functional import attention as library_attention
from ...inspection.mechanisms import shares
from ...methods import PrefixTuning
from ...model.generate import next_tokens
from ..formula import Argument, formula
from ..methods import of_prefix


def softmax(s, axis=-1):
    e = np.exp(s - s.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def later(T, S):
    """Return the keys (T, S) that a causal mask hides from the last T of S rows."""
    return np.arange(S) > np.arange(S - T, S)[:, None]


def attend(q, k, v, masked, scale=lambda d: d**-0.5):
    return softmax(np.where(masked, -np.inf, scale(q.shape[1]) * q @ k.T)) @ v


# -- attention

MASKED = Argument("T T", lambda rng, *shape: masked_keys(rng, *shape), neutral=0.0)


def masked_keys(rng, T, S):
    """Return random keys to hide, at least one in all, and not all of any query."""
    hidden = rng.random((T, S)) < 0.4
    hidden[np.arange(T), rng.integers(0, S, T)] = False
    if S > 1:
        hidden[0, :1], hidden[0, 1] = True, False
    return hidden


@formula(library_attention, {"q": "T d", "k": "T d", "v": "T d", "masked": MASKED})
def attention(q, k, v, masked):
    """softmax(q kᵀ/√d) v
    Vaswani et al. 2017, eq. 1"""
    return attend(q, k, v, masked != 0)


attention.variants["with a causal mask"] = lambda q, k, v, masked: attend(
    q, k, v, later(len(q), len(k))
)


def rescaled(scale):
    return lambda q, k, v, masked: attend(q, k, v, masked != 0, scale)


attention.slip(
    "√d is left out",
    "divide the scores by √d, d the width of a head",
    rescaled(lambda d: 1),
    "delzac/cntkx#10, mlc-ai/mlc-llm#3426",
)
attention.slip(
    "times √d",
    "divide the scores by √d",
    rescaled(lambda d: d**0.5),
    "AI-Hypercomputer/maxtext#1370",
)
attention.slip(
    "d instead of √d", "divide the scores by the square root of d", rescaled(lambda d: 1 / d)
)
attention.slip(
    "√d divides the weights, not the scores",
    "divide before the softmax",
    lambda q, k, v, masked: softmax(np.where(masked, -np.inf, q @ k.T)) @ v / q.shape[1] ** 0.5,
    "FrancescoSaverioZuppichini/ViT#2",
)
attention.slip(
    "softmax over queries",
    "the weights of each query sum to one: softmax over the keys",
    lambda q, k, v, masked: (
        softmax(np.where(masked, -1e300, q @ k.T / q.shape[1] ** 0.5), axis=0) @ v
    ),
    "nerdai/llms-from-scratch-rs#30",
)
attention.slip(
    "masked weights are set to 0 after the softmax",
    "set masked scores to -∞ before it, so that the others sum to one",
    lambda q, k, v, masked: np.where(masked, 0, softmax(q @ k.T / q.shape[1] ** 0.5)) @ v,
)
attention.slip(
    "masked scores are set to 0",
    "exp(0) is not 0: set masked scores to -∞",
    lambda q, k, v, masked: softmax(np.where(masked, 0, q @ k.T / q.shape[1] ** 0.5)) @ v,
)
attention.slip(
    "the mask is ignored",
    "set the scores of masked keys to -∞",
    lambda q, k, v, masked: attend(q, k, v, False),
)

# -- prefixes


def with_prefix(q, K, V, P_key, P_value, masked=None, scale=lambda d: d**-0.5):
    k, v = np.concatenate([P_key, K]), np.concatenate([P_value, V])
    return attend(q, k, v, later(len(q), len(k)) if masked is None else masked, scale)


@formula(
    PrefixTuning,
    {"q": "T d", "K": "T d", "V": "T d", "P_key": "P d", "P_value": "P d"},
    of_method=of_prefix(with_prefix),
)
def prefix(q, K, V, P_key, P_value):
    """softmax(q [P_key; K]ᵀ/√d) [P_value; V], with a causal mask
    Li & Liang 2021, §4"""
    return with_prefix(q, K, V, P_key, P_value)


prefix.variants["without a causal mask, as in an encoder"] = lambda q, K, V, P_key, P_value: (
    with_prefix(q, K, V, P_key, P_value, masked=False)
)
prefix.slip(
    "keys are not shifted by the prefix",
    "the causal mask is made as if the prefix were text: query t sees P + t + 1 keys, not t + 1",
    lambda q, K, V, P_key, P_value: with_prefix(
        q, K, V, P_key, P_value, np.arange(len(P_key) + len(K)) > np.arange(len(q))[:, None]
    ),
    "zai-org/ChatGLM3#359",
)
prefix.slip(
    "√d is left out",
    "divide the scores of prefix and text by √d",
    lambda q, K, V, P_key, P_value: with_prefix(q, K, V, P_key, P_value, scale=lambda d: 1),
)
prefix.slip(
    "keys and values of the prefix are swapped",
    "P_key stands before K, P_value before V",
    lambda q, K, V, P_key, P_value: with_prefix(q, K, V, P_value, P_key),
)
prefix.slip(
    "two softmaxes instead of one",
    "prefix and text share one softmax; with one for each, as in LLaMA-Adapter, they are added",
    lambda q, K, V, P_key, P_value: (
        attend(q, K, V, later(len(q), len(q))) + attend(q, P_key, P_value, False)
    ),
    "OpenGVLab/LLaMA-Adapter#47",
)
prefix.slip(
    "the prefix is not read",
    "the result is that of the text alone: put the prefix in front of it, where no causal mask "
    "hides it; zeros have an effect, too, since their keys get weight",
    lambda q, K, V, P_key, P_value: attend(q, K, V, later(len(q), len(q))),
    "a docstring of PEFT, X24 of docs/sources.md",
)


def weight(q, K, P_key, scale, masked):
    """Return Σ exp of the prefix / Σ exp of prefix and the keys that are not masked, (T,)."""
    text = np.where(masked, 0, np.exp(scale * q @ K.T)).sum(1)
    front = np.exp(scale * q @ P_key.T).sum(1)
    return front / (front + text)


@formula(shares, {"q": "T d", "K": "T d", "P_key": "P d"})
def lambda_(q, K, P_key):
    """λ = Σ exp(q P_keyᵀ/√d) / (Σ exp(q P_keyᵀ/√d) + Σ exp(q Kᵀ/√d))
    He et al. 2022, eq. 8"""
    return weight(q, K, P_key, q.shape[1] ** -0.5, later(len(q), len(q)))


lambda_.variants["without a causal mask, as in an encoder"] = lambda q, K, P_key: weight(
    q, K, P_key, q.shape[1] ** -0.5, False
)
lambda_.slip(
    "λ without √d",
    "the paper prints it so; attention divides the scores by √d, d of a head",
    lambda q, K, P_key: weight(q, K, P_key, 1, later(len(q), len(q))),
    "He et al. 2022, eq. 8",
)
lambda_.slip(
    "λ without √d, without a causal mask",
    "divide the scores by √d, d the width of a head",
    lambda q, K, P_key: weight(q, K, P_key, 1, False),
)
lambda_.slip(
    "1 - λ instead of λ",
    "λ is the weight of the prefix, not of the text",
    lambda q, K, P_key: 1 - weight(q, K, P_key, q.shape[1] ** -0.5, later(len(q), len(q))),
)
lambda_.slip(
    "sums of scores",
    "sum exp(score), not the scores",
    lambda q, K, P_key: (q @ P_key.T).sum(1) / ((q @ P_key.T).sum(1) + (q @ K.T).sum(1)),
)

# -- positions


def padded(rng, B, T):
    """Return a mask (B, T), False at padding: left, right, or none."""
    mask, n = np.ones((B, T), bool), T // 2
    for i in range(B):
        side = rng.integers(0, 3) if i else 0
        mask[i, : n if side == 0 else 0] = False
        mask[i, T - n if side == 1 else T :] = False
    return mask


@formula(
    position_ids,
    {
        "mask": Argument("B T", padded, neutral=1.0),
        "P": Argument("", lambda rng: int(rng.integers(2, 9))),
    },
    at="mask",
)
def positions(mask, P):
    """P + the number of real tokens before it, behind a prefix of P rows
    Li & Liang 2021, code"""
    return P + np.cumsum(mask, 1) - 1


positions.slip(
    "positions are not shifted by the prefix",
    "the text starts at position P; PrefixTuning(shift_positions=False) is this",
    lambda mask, P: np.cumsum(mask, 1) - 1,
)
positions.slip(
    "padding takes positions",
    "only real tokens count: a text has the positions that it has alone",
    lambda mask, P: P + np.arange(mask.shape[1]) + 0 * mask,
    "tloen/alpaca-lora#315, huggingface/peft#1093",
)
positions.slip(
    "padding takes positions, and they are not shifted",
    "count real tokens, and add P",
    lambda mask, P: np.arange(mask.shape[1]) + 0 * mask,
)
positions.slip(
    "off by one", "the first real token is at position P", lambda mask, P: P + np.cumsum(mask, 1)
)

# -- a cache


class CachedModel:
    """Language model whose cache is a sum of all rows that it has read, each turned by its age.

    embed(ids) returns rows (T, d); model(rows, cache=None) the logits (T, V) and the new cache.
    """

    def __init__(self, rng):
        self.E, self.W = rng.normal(size=(50, 7)), rng.normal(size=(7, 50))

    def embed(self, ids):
        return self.E[np.asarray(ids, int)]

    def __call__(self, rows, cache=None):
        states, state = [], np.zeros(7) if cache is None else cache
        for row in rows:
            state = np.roll(state, 1) + row
            states.append(state)
        return np.array(states) @ self.W, state


def greedy(model, P, ids, n, later_rows):
    """Return n tokens; later_rows(tokens so far, all after P) are read in each later step."""
    rows, cache, new = np.concatenate([P, model.embed(ids)]), None, []
    while len(new) < n:
        logits, cache = model(rows, cache)
        new.append(int(logits[-1].argmax()))
        rows = later_rows(model, [*ids, *new])
    return np.array(new)


@formula(
    next_tokens,
    {
        "model": Argument("", CachedModel),
        "P": Argument("", lambda rng: rng.normal(size=(3, 7))),
        "ids": Argument("", lambda rng: rng.integers(0, 50, 5)),
        "n": Argument("", lambda rng: 8),
    },
)
def generate(model, P, ids, n):
    """[P; e(x)] is read once, then each new token alone, with the cache
    Lester et al. 2021, §2"""
    return greedy(model, P, ids, n, lambda model, text: model.embed(text[-1:]))


generate.slip(
    "the prompt is read twice with a cache",
    "P is put in front in every step; the cache has it after the first one",
    lambda model, P, ids, n: greedy(
        model, P, ids, n, lambda model, text: np.concatenate([P, model.embed(text[-1:])])
    ),
    "kipgparker/soft-prompt-tuning#7, huggingface/peft#1391",
)
generate.slip(
    "the text is read again with a cache",
    "read only the new token: the cache has the rest",
    lambda model, P, ids, n: greedy(model, P, ids, n, lambda model, text: model.embed(text)),
)
generate.slip(
    "prompt and text are read again with a cache",
    "read only the new token: the cache has the rest",
    lambda model, P, ids, n: greedy(
        model, P, ids, n, lambda model, text: np.concatenate([P, model.embed(text)])
    ),
)
generate.slip(
    "the prompt is not read",
    "read [P; e(x)] in the first step",
    lambda model, P, ids, n: generate.right(model, P[:0], ids, n),
)
