"""Small trainings of several methods, to stop, resume and compare bit for bit."""

import os
from pathlib import Path

import numpy as np

import minipeft as mp
from minipeft.data.batches import pad, passages
from minipeft.training.trainer import BATCH

V, C, STEPS = 31, 3, 5
DECODER = mp.Decoder(mp.Config(V, width=16, layers=2, heads=2, length=40), np.random.default_rng(0))
CLASSIFIER = mp.Classifier(DECODER, C, pool="mean")
ROOT = Path(__file__).parents[2]
HERE = os.environ | {"PYTHONPATH": str(ROOT)}  # environment of other processes
METHODS = {
    "lora": (DECODER, lambda: mp.LoRA(rank=2, dropout=0.3)),
    "prefix": (DECODER, lambda: mp.PrefixTuning(3)),
    "encoded prefix": (DECODER, lambda: mp.Encoded(mp.PrefixTuning(3), mlp_width=6)),
    "full": (DECODER, lambda: mp.FullFineTuning()),
    "chain": (CLASSIFIER, lambda: mp.Chain(mp.LoRA(rank=2, dropout=0.3), mp.Probe())),
    "classifier": (CLASSIFIER, lambda: mp.Chain(mp.Encoded(mp.PrefixTuning(2), 5), mp.Probe())),
}


def made(name, lr=1e-2, steps=STEPS, seed=0, micro_batches=2, workers=2, **adam):
    """Return a new Trainer of one of the methods."""
    model, method = METHODS[name]
    adaptation = method().attach(model, np.random.default_rng(1))
    optimizer = mp.AdamW(adaptation.parameters(), lr, **adam)
    return mp.Trainer(
        model,
        adaptation,
        optimizer,
        schedule=mp.schedule("linear", steps, warmup=2),
        seed=seed,
        micro_batches=micro_batches,
        workers=workers,
    )


def step(trainer, batch):
    return trainer.step(**dict(zip(BATCH, batch)))


def stream(trainer, seed=2):
    """Yield its batches, from the first on."""
    rng = np.random.default_rng(seed)
    if trainer.model is DECODER:
        return passages(rng.integers(0, V, 300), 5, 12, rng)
    return texts(rng)


def texts(rng):
    """Yield batches of texts of several lengths, with a class for each."""
    while True:
        ids, mask = pad([rng.integers(0, V, rng.integers(3, 9)) for _ in range(5)])
        yield ids, rng.integers(0, C, 5), mask


def fit(trainer, folder=None, each=lambda: None, **options):
    """Train to the end, with dev evaluation every other step; `each` is called before a step."""
    ids, labels, mask = next(stream(trainer, seed=3))

    def evaluate():
        with mp.no_grad():
            return float(trainer.model.loss(ids, labels, trainer.adaptation, mask=mask))

    def watched():
        for batch in stream(trainer):
            each()
            yield batch

    options = {"evaluate": evaluate, "every": 2, "save_every": 2, "progress": False} | options
    trainer.fit(watched(), STEPS, folder=folder, **options)
    return trainer


def numbers(trainer):
    """Return the whole state of a training, as bytes."""
    best, optimizer = trainer.best, trainer.optimizer
    parameters = [p.data for p in optimizer.parameters]
    state = (
        trainer.t,
        trainer.batches_checksum,
        optimizer.t,
        best.value,
        best.t,
        best.since,
        best.adam_t,
    )
    arrays = [*parameters, *optimizer.m, *optimizer.v, *best.arrays, *best.m, *best.v]
    return state, [x.tobytes() for x in arrays]


WHOLE = {name: numbers(fit(made(name))) for name in METHODS}  # the state of uninterrupted trainings
