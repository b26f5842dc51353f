"""Answers that a policy samples, and the probabilities of their tokens.

N answers   T tokens of a text   R tokens of an answer
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..autograd.backend import host
from ..autograd.functional import log_probability
from ..autograd.tensor import Tensor
from ..data.batches import pad
from ..model.generate import generate
from ..model.generation_config import GenerationConfig
from ..training.parallel import map_batches


class Answers(NamedTuple):
    """Prompts with an answer to each."""

    ids: np.ndarray  # (N, T): prompts, padded on the left, and answers, padded on the right
    mask: np.ndarray  # (N, T): False at padding
    real: np.ndarray  # (N, R): True at the tokens of the answers, with the end-of-text token
    ended: np.ndarray  # (N,): whether there is an end-of-text token

    def of(self, rows) -> "Answers":
        """Return some of the answers, without the columns that are padding in all of them."""
        ids, mask, real, ended = (x[rows] for x in self)
        used = np.flatnonzero(mask.any(0))
        columns, R = slice(used[0], used[-1] + 1), real.sum(1).max()
        return Answers(ids[:, columns], mask[:, columns], real[:, :R], ended)

    def prompts(self) -> list[list[int]]:
        """Return the tokens of each prompt."""
        T = self.ids.shape[1] - self.real.shape[1]
        return [row[real].tolist() for row, real in zip(self.ids[:, :T], self.mask[:, :T])]

    def texts(self) -> list[list[int]]:
        """Return the tokens of each answer, without the end-of-text token."""
        R = self.real.shape[1]
        rows = zip(self.ids[:, -R:], self.real.sum(1) - self.ended)
        return [row[:n].tolist() for row, n in rows]


def sample(
    model,
    prompts: Sequence[Sequence[int]],
    adaptation: Adaptation | None = None,
    *,
    eos: Sequence[int],
    rng: np.random.Generator,
    max_new_tokens: int = 48,
    temperature: float = 1.0,
) -> Answers:
    """Return an answer to each prompt, a list of ids.

    An answer without one of `eos` among its tokens is truncated; the shortest has only that token.
    Raises ValueError for an empty prompt.
    """
    if not all(map(len, prompts)) or not len(prompts):
        raise ValueError("a prompt is empty, or there is none: give each at least one token")
    ids, mask = (x[:, ::-1] for x in pad([[*row][::-1] for row in prompts]))  # on the left
    settings = GenerationConfig(max_new_tokens, temperature=temperature, eos=(*eos,))
    new = generate(model, ids, adaptation, mask=mask, rng=rng, **vars(settings))
    ends = np.isin(new, eos)
    real = np.asarray(np.cumsum(ends, 1) - ends == 0)  # up to the first end
    joined = np.concatenate([ids, new], 1), np.concatenate([mask, real], 1)
    return Answers(*joined, real, np.asarray(ends.any(1)))


def answer_log_p(
    model,
    ids,
    real,
    adaptation: Adaptation | None = None,
    *,
    mask=None,
    temperature: float = 1.0,
) -> Tensor:
    """Return log π (N, R) of the answers at the end of ids (N, T), and 0 where `real` is False.

    temperature: that of sampling.  π is what was sampled from, so it divides the logits here, too.
    """
    (_, T), (N, R) = ids.shape, real.shape
    before = np.broadcast_to(np.arange(T - R - 1, T - 1), (N, R))  # each token, its column
    z = model(ids, adaptation, mask=mask, positions=before)
    return log_probability(z * (1 / temperature), np.where(real, ids[:, -R:], -100))


def check_reference(adaptation: Adaptation) -> None:
    """Raise ValueError for an adaptation whose texts the reference can't read."""
    if adaptation.template != PLAIN.template:
        raise ValueError(
            f"{adaptation} needs pseudo-tokens in each prompt, and the reference can't read them: "
            "use another method, such as a prompt or a prefix"
        )


def compute(f: Callable, rows) -> np.ndarray:
    """Return the array f(indices) of all rows, computed in batches, on threads, without a graph."""
    return np.stack(map_batches(lambda indices: [*host(f(indices).data)], rows))
