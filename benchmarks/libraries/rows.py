"""Jobs of minipeft with several adaptations in one batch."""

from pathlib import Path

import numpy as np

import minipeft as mp

from ..cases import SIZES, texts
from ..start import METHODS
from .ours import trainer

KINDS = "lora", "prefix", "prompt", "adapter"


def model_of(size: str):
    """Return the model of this size."""
    mp.keep_memory()
    return mp.load(Path(size, "base"))


def users(size: str, method: str, users: int, rows: int):
    """Return a training step on a batch in which each row is of one of `users` users.

    As many users as rows are a bank; fewer are an Each.
    """
    model, rng = model_of(size), np.random.default_rng(0)
    γs = [METHODS[method](SIZES[size]).attach(model, rng) for _ in range(users)]
    γ = mp.stack(γs) if users == rows else mp.Each([γs[i % users] for i in range(rows)])
    training = trainer(model, γs[0] if users == 1 else γ)
    ids = texts(size, rows, SIZES[size].tokens)
    return lambda: training.step(ids, ids) and None


def kinds(size: str):
    """Return the model, an adaptation of each of KINDS, the ids, and which kind each row has."""
    model, rng, s = model_of(size), np.random.default_rng(0), SIZES[size]
    γs = [METHODS[kind](s).attach(model, rng) for kind in KINDS]
    return model, γs, texts(size, s.batch, s.tokens), np.arange(s.batch) % len(KINDS)


def train_kinds(size: str, mixed: bool):
    """Return training steps of four methods: on one mixed batch, or on a batch for each."""
    model, γs, ids, kind = kinds(size)
    if mixed:
        training = trainer(model, mp.Each([γs[k] for k in kind]))
        return lambda: training.step(ids, ids) and None
    trainings = [(trainer(model, γ), ids[kind == k]) for k, γ in enumerate(γs)]
    return lambda: [training.step(rows, rows) for training, rows in trainings] and None


def generate_kinds(size: str, mixed: bool, new: int):
    """Return a function that generates for four methods, and returns the sum of the token ids."""
    model, γs, ids, kind = kinds(size)
    ids = ids[:, : ids.shape[1] // 2]
    each = mp.Each([γs[k] for k in kind])
    batches = [(ids, each)] if mixed else [(ids[kind == k], γ) for k, γ in enumerate(γs)]
    write = lambda ids, γ: mp.generate(model, ids, γ, max_new_tokens=new).sum()
    return lambda: float(sum(write(*batch) for batch in batches))
