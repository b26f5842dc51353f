"""Does an adaptation do anything?  How far it moves predictions, against random adaptations.

n predictions   C classes, or words of the vocabulary
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.chain import Chain
from ..adaptation.merge import fold
from ..adaptation.method import PLAIN
from ..autograd.backend import host
from ..autograd.nn import Module, replace
from ..autograd.tensor import Tensor, no_grad
from .reader import kl, log_softmax

HEAD = "query", "pooler", "score"  # paths of the layers that a head has
DRAWS = 16
ROWS = 64  # of logits, in float64 at a time: of 50,000 words they take 26 MB


@dataclass(frozen=True)
class Divergence:
    """Mean of KL(p_γ ‖ p_θ) over n predictions, in nats, of an adaptation γ of the network θ.

    random: the same of random adaptations of the same size.
    """

    kl: float
    random: tuple[float, ...]

    @property
    def z(self) -> float | None:
        """(log kl - mean) / standard deviation, of the logarithms of `random`; None if one is 0.

        Divergences of random adaptations differ by factors, so their logarithms are compared.
        """
        with np.errstate(all="ignore"):
            log, logs = np.log(self.kl), np.log(self.random)
            z = (log - logs.mean()) / logs.std(ddof=1)
        return float(z) if np.isfinite(z) else None


def divergence(
    predict: Callable[[Adaptation], np.ndarray],
    γ: Adaptation,
    model: Module,
    *,
    draws: int = DRAWS,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Divergence | None:
    """Return how far γ moves the predictions of the frozen network; None if γ is a head alone.

    predict: returns the logits (n, C) of the model with an adaptation.
    A trained head has no counterpart in the base, so the frozen network is read by the same head.
    progress: returns the iterator of random adaptations that it is given, with a progress bar.
    """
    γ = fold(γ)
    if all(path in HEAD for m in γ.leaves() for path in m.at) and γ.parameters():
        return None
    with no_grad(), np.errstate(over="ignore", invalid="ignore"):
        base = predict(head_of(γ))
        others = progress(random_adaptations(γ, model, draws))
        found, *random = (mean_kl(predict(m), base) for m in itertools.chain([γ], others))
        return Divergence(found, tuple(random))


def head_of(γ: Adaptation) -> Adaptation:
    """Return what γ has at the layers of the head; PLAIN if that is nothing."""
    at = lambda m: {path: ps for path, ps in m.at.items() if path in HEAD}
    parts = [replace(m, at=at(m)) for m in γ.leaves()]
    return Chain(*parts) if any(m.at for m in parts) else PLAIN


def random_adaptations(γ: Adaptation, model: Module, draws: int) -> Iterator[Adaptation]:
    """Yield adaptations like γ with random parameters of the same size, and with the same head.

    A parameter whose start is random, such as A of LoRA or a prompt of random words, is a new start
    scaled to the norm that the parameter has.  Another one, such as B = 0, is its start and a
    Gaussian change of the norm of its own change.  One that its method does not start with, as of a
    folder with several ranks, is Gaussian.
    """
    parts = [m for m in γ.leaves() if any(path not in HEAD for path in m.at)]
    start = lambda seed: [m.method.attach(model, np.random.default_rng(seed)) for m in parts]
    first = start(draws)
    for seed in range(draws):
        rng, new = np.random.default_rng(seed), {id(p): p for p in head_of(γ).parameters()}
        for m, *starts in zip(parts, first, start(seed)):
            for path, parameters in m.at.items():
                for name, p in parameters.items():
                    a, b = (γ.at.get(path, {}).get(name) for γ in starts)
                    if id(p) not in new:
                        new[id(p)] = like(p, a, b, rng)
        yield γ.replace_parameters(new)


def like(p: Tensor, first: Tensor | None, second: Tensor | None, rng) -> Tensor:
    """Return a random tensor of the size of the parameter p, given two of its starts."""
    x, zeros = host(p.data), np.zeros(p.shape)
    known = first is not None and second is not None and first.shape == second.shape == p.shape
    a, b = (host(t.data) if known else zeros for t in (first, second))
    if np.array_equal(a, b):
        u = rng.normal(size=p.shape)
        new = a + u * (np.linalg.norm(x - a) / np.linalg.norm(u))
    else:
        new = b * (np.linalg.norm(x) / np.linalg.norm(b))
    return Tensor(np.asarray(new, p.dtype, like=p.data))


def mean_kl(z: np.ndarray, y: np.ndarray) -> float:
    """Return the mean over rows of KL(p ‖ q), for logits (n, C) of both."""
    total = 0.0
    for at in range(0, len(z), ROWS):
        total += kl(*(log_softmax(x[at : at + ROWS]) for x in (z, y))).sum()
    return float(np.maximum(total / len(z), 0))  # rounding may be negative; NaN stays
