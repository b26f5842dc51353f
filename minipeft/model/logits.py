"""Changes of the logits of the next token, in the order of transformers 5.23.0.

B texts   V vocabulary   S columns of the texts so far; z (B, V) logits or log-probabilities
history (B, S): the tokens so far, at the right; V at padding
"""

import numpy as np

from .generation_config import GenerationConfig


def process(z, history, n: int, c: GenerationConfig):
    """Return z as the settings change it for every way to generate; n: number of new tokens."""
    if c.repetition_penalty != 1:
        z = penalise_repetition(z, history, c.repetition_penalty)
    if c.no_repeat_ngram_size:
        z = forbid_ngrams(z, history, c.no_repeat_ngram_size)
    if n < c.min_new_tokens:
        z = forbid(z, c.eos)
    if c.forced_bos_token_id is not None:
        one_token = (history < z.shape[1]).sum(1, keepdims=True) == 1
        z = np.where(one_token, force(z, c.forced_bos_token_id), z)
    if c.forced_eos_token_id is not None and n == c.max_new_tokens - 1:
        z = force(z, c.forced_eos_token_id)
    return z


def warp(z, c: GenerationConfig, least: int = 1):
    """Return z as the settings change it for sampling; at least `least` tokens stay."""
    z = z / c.temperature
    if c.top_k:
        z = keep_top_k(z, max(c.top_k, least))
    return keep_top_p(z, c.top_p, least) if c.top_p < 1 else z


def penalise_repetition(z, history, penalty: float):
    """Return z / ρ for z ≥ 0 and ρ z for z < 0, of tokens so far        Keskar et al. 2019, §4.1"""
    seen = np.zeros((len(z), z.shape[1] + 1), bool)
    np.put_along_axis(seen, history, True, 1)
    return np.where(seen[:, :-1], np.where(z < 0, z * penalty, z / penalty), z)


def forbid_ngrams(z, history, n: int):
    """Return z, -∞ for each token that would end n tokens in a row that were there before.

    The text 5 6 5 has the pair 5 6, so another 6 is forbidden:

    >>> forbid_ngrams(np.zeros((1, 8)), np.array([[8, 5, 6, 5]]), 2).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -inf, 0.0]]
    """
    S, V = history.shape[1], z.shape[1]
    if S < n:
        return z
    windows = np.lib.stride_tricks.sliding_window_view(history, n, axis=1)  # (B, S - n + 1, n)
    same = (windows[..., :-1] == history[:, None, S - n + 1 :]).all(-1)
    banned = np.zeros((len(z), V + 1), bool)
    np.put_along_axis(banned, np.where(same, windows[..., -1], V), True, 1)
    return np.where(banned[:, :-1], -np.inf, z)


def forbid(z, ids):
    """Return z, -∞ for the tokens `ids`."""
    return np.where(np.isin(np.arange(z.shape[1]), ids), -np.inf, z)


def force(z, i: int):
    """Return logits of z's shape that leave only the token i."""
    return np.where(np.arange(z.shape[1]) == i, np.zeros_like(z), -np.inf)


def keep_top_k(z, k: int):
    """Return z, -∞ for tokens less likely than the k-th        Fan et al. 2018"""
    k = min(k, z.shape[1])
    return np.where(z < np.partition(z, -k)[:, -k, None], -np.inf, z)


def keep_top_p(z, p: float, least: int = 1):
    """Return z, -∞ but for the likeliest tokens of probability p        Holtzman et al. 2020, §3.1

    They are the fewest whose probabilities sum to p or more, and at least `least`.
    """
    order = np.argsort(z, 1, kind="stable")
    probabilities = np.exp(log_softmax(np.take_along_axis(z, order, 1)))
    dropped = probabilities.cumsum(1) <= 1 - p
    dropped[:, -least:] = False
    unsorted = np.empty_like(dropped)
    np.put_along_axis(unsorted, order, dropped, 1)
    return np.where(unsorted, -np.inf, z)


def log_softmax(z):
    """Return log softmax(z), (B, V)."""
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))
