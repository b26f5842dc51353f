"""Which parameters get no gradient in the first step, and why."""

import re
from dataclasses import dataclass

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..autograd.backend import host
from ..autograd.nn import size
from ..autograd.tensor import Tensor
from ..model.heads import SpanHead
from ..training.parallel import ONE_BLAS_THREAD, Pool, gradients, shard_rows

ROUNDING = 16  # a gradient of so many roundings of the largest one is 0: measured are at most 1
SHARE = 16  # causes are searched for with this part of the batch
STDS = 0.1, 1.0  # of random numbers: with small ones gradients vanish, with large ones in a softmax
SHIFT = "a softmax is the same if all its scores shift"
ROWS = "no text of the batch has the tokens or positions that it changes"
NOTHING = "the loss does not depend on it"


@dataclass(frozen=True)
class Silent:
    """Parameters without a gradient.

    names: as in γ.named_parameters().  why: "B = 0", or else why they have none at all.
    expected: whether this is as it should be: other parameters must move first, or SHIFT.
    """

    names: tuple[str, ...]
    why: str
    expected: bool


def without_gradient(
    model, γ: Adaptation, ids, labels, *, mask=None, token_types=None, micro_batches: int = 1
) -> list[Silent]:
    """Return the parameters of γ whose gradient is 0 for a batch, grouped by the reason.

    The cause is found by trial: parameters that are 0, such as B of LoRA, are replaced by random
    numbers, all of a name at a time.  If a gradient is then not 0, they are the cause.  The trials
    are on a few rows; all takes one to two steps.  Nothing is changed.
    ids, labels, mask, token_types: those of `model.loss`.  micro_batches: as for Trainer.
    Raises ValueError for a batch without labels.
    """
    batch = {"ids": ids, "mask": mask, "token_types": token_types}
    batch = {name: np.asarray(x) for name, x in batch.items() if x is not None}
    trial = Trial(model, γ, batch, model.targets(np.asarray(labels), mask), micro_batches)
    if not (silent := trial.silent(trial.all)):
        return []
    zero = [name for name, p in trial.named.items() if not host(p.data).any()]
    kinds = {kind(name) for name in zero}
    still = silent & trial.still_silent(kinds)
    causes = {k: trial.still_silent(kinds - {k}) for k in sorted(kinds)} if still < silent else {}
    groups: dict[tuple[str, bool], list[str]] = {}
    for name in (name for name in trial.named if name in silent):
        if name in still:
            why = reason(name, model)
        else:
            found = [k for k in causes if name in causes[k]] or causes
            why = " and ".join(f"{called(k, zero)} = 0" for k in found)
        groups.setdefault((why, name not in still or why == SHIFT), []).append(name)
    return [Silent(tuple(names), *key) for key, names in groups.items()]


class Trial:
    """Gradients of an adaptation for rows of a batch, with random numbers in place of zeros."""

    def __init__(self, model, γ, batch, targets, micro_batches):
        self.model, self.γ, self.batch = model, γ, batch | {"targets": targets}
        self.micro_batches, self.named = micro_batches, names_of(γ)
        self.all = np.flatnonzero((targets.reshape(len(targets), -1) >= 0).any(1))
        if not len(self.all):
            raise ValueError("the batch has no labels, all are -100: there is nothing to learn")
        self.few = self.all[: max(1, len(self.all) // SHARE)]

    def still_silent(self, kinds) -> set[str]:
        """Return the names of those whose gradient is 0 with random numbers of all STDS."""
        small, large = STDS
        silent = self.silent(self.few, kinds, small)
        return silent & self.silent(self.few, kinds, large) if silent and kinds else silent

    def silent(self, rows, kinds=frozenset(), std=0.0) -> set[str]:
        """Return the names of the parameters whose gradient is 0 for these rows of the batch.

        kinds: of parameters in which random numbers, of this standard deviation, replace zeros.
        """
        rng, new = np.random.default_rng(0), {}
        for name, p in self.named.items():
            x = p.data
            if kind(name) in kinds and not host(x).any():
                x = np.asarray(rng.normal(0, std, x.shape), x.dtype, like=x)
            new[id(p)] = Tensor(x, requires_grad=True)
        batch = {name: x[rows] for name, x in self.batch.items()}
        shape = batch.get("mask", batch["ids"]).shape[:2]
        shards = shard_rows(shape, size(self.model), self.micro_batches)
        with Pool() as pool, ONE_BLAS_THREAD:
            γ = self.γ.replace_parameters(new)
            _, gs = gradients(self.loss, γ, shards, pool, batch)
        sizes = [float(np.abs(host(g)).max()) for g in gs]
        least = ROUNDING * np.finfo(gs[0].dtype).eps * max(sizes)
        return {name for name, size in zip(self.named, sizes) if size <= least}

    def loss(self, rows, γ, s, ids, targets, **inputs):
        """Return the summed loss of a shard of the batch, without dropout."""
        return self.model.loss_at(ids, targets, γ, count=1, **inputs)


def names_of(γ: Adaptation) -> dict[str, Tensor]:
    """Return {name: parameter}, each parameter once, in the order of γ.parameters()."""
    first = {id(p): name for name, p in reversed([*γ.named_parameters()])}
    return {first[id(p)]: p for p in γ.parameters()}


def kind(name: str) -> str:
    """Return the last part of the name of a parameter: A of blocks.0.attn.q.A."""
    return name.rpartition(".")[2]


def called(kind_: str, names: list[str]) -> str:
    """Return B for a kind of many layers, score.W for one that is in one layer."""
    found = [name for name in names if kind(name) == kind_]
    return re.sub(r"^(\d+\.)+", "", found[0]) if len(found) == 1 else kind_


def reason(name: str, model) -> str:
    """Return why a parameter never gets a gradient, from its layer."""
    path, _, last = name.rpartition(".")
    shifts = r"((attn|cross)\.k|score)$" if isinstance(model, SpanHead) else r"(attn|cross)\.k$"
    if re.search(shifts, path) and last in ("b", "delta"):
        return SHIFT
    return ROWS if re.search(r"\b(tokens|positions|types)$", path) else NOTHING
