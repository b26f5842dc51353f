"""Sequences of coin flips, whose best prediction is known, and a base that has learned a prior."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ..adaptation.method import PLAIN, Method
from ..autograd.tensor import no_grad
from ..methods import FullFineTuning, PrefixTuning, PromptTuning
from ..model.config import Config
from ..model.transformer import Decoder
from ..world.pretrain import train
from .study import BATCH_SIZE, Study, Trial, fixed_row

FLIPS, BEGIN = 16, 2  # in a sequence; the token id before them
CONFIG = Config(BEGIN + 1, width=32, layers=2, heads=4, length=64, positions="rotary")
PRETRAINING, BATCH = 10, 32  # times the steps of the settings; sequences in each step
COINS = {"one coin": (0.8,), "two coins": (0.2, 0.8)}  # P(heads); each sequence has one of them
METHODS = {"prompt": PromptTuning(10), "prefix": PrefixTuning(10), "full": FullFineTuning()}


def sequences(rng, heads: np.ndarray) -> np.ndarray:
    """Return ids (B, 1 + FLIPS) of sequences, given P(heads) of each, (B,)."""
    flips = rng.random((len(heads), FLIPS)) < heads[:, None]
    return np.concatenate([np.full((len(heads), 1), BEGIN), flips], 1)


def batches(rng, draw: Callable, size: int) -> Iterator[tuple]:
    """Yield (ids, labels), endlessly; draw(size) returns P(heads) of each sequence."""
    while True:
        ids = sequences(rng, draw(size))
        yield ids, ids


def best_loss(ids: np.ndarray, coins: tuple[float, ...]) -> float:
    """Return the mean loss of the best prediction in nats per flip: -log Σ_c p(x | c) / C."""
    n, p = ids[:, 1:].sum(1)[:, None], np.array(coins)
    log_p = n * np.log(p) + (FLIPS - n) * np.log(1 - p)
    return float(-np.mean(np.log(np.exp(log_p).mean(1))) / FLIPS)


def pretrained(study: Study) -> Decoder:
    """Return a base that has learned to predict a coin whose P(heads) is uniform."""
    rng, steps = np.random.default_rng(0), PRETRAINING * study.settings.steps
    show = lambda step, loss: study.show("pretraining on coins", step, steps)
    data = batches(rng, rng.random, BATCH)
    return train(Decoder(CONFIG, rng), data, steps, 0, show, lr=3e-3, betas=(0.9, 0.98))


def rows(study: Study, steps: int) -> Iterator[dict]:
    """Yield the regret of the base and of each method: the loss above the best, in nats per flip.

    steps: of each method.
    """
    base, settings = pretrained(study), study.settings
    rng = np.random.default_rng([0, 1])  # no training draws from it
    for name, coins in COINS.items():
        ids = {
            split: sequences(rng, rng.choice(coins, n))
            for split, n in (("dev", settings.dev), ("test", settings.test))
        }

        def regret(γ, split, ids=ids, coins=coins) -> float:
            with no_grad():
                return float(base.loss(ids[split], ids[split], γ)) - best_loss(ids[split], coins)

        def trial(seed, method: Method, coins=coins, regret=regret) -> Trial:
            rng = np.random.default_rng(seed)
            γ = method.attach(base, rng)
            data = batches(rng, lambda size: rng.choice(coins, size), BATCH_SIZE)
            scores = lambda: {"regret": regret(γ, "test")}
            return Trial(base, γ, data, lambda: -regret(γ, "dev"), scores)

        yield fixed_row(f"base, {name}", {"regret": regret(PLAIN, "test")})
        for kind, method in METHODS.items():
            yield study.row(f"{kind}, {name}", partial(trial, method=method), steps=steps)
