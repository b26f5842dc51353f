"""Jobs of minipeft, with keep_memory(), as its commands have."""

from pathlib import Path

import numpy as np

import minipeft as mp
from minipeft.model.heads import Head

from ..cases import CLASSES, LR, SIZES, batch, texts
from ..start import ATTACHED, METHODS


def model_and_adaptation(size: str, method: str):
    """Return the model of this size and its adaptation, from the folders of `start`."""
    mp.keep_memory()
    model = mp.load(Path(size, "base"))
    if method == "probe":
        model = mp.Classifier(model, CLASSES, "mean")
    if method in ATTACHED:
        return model, METHODS[method](SIZES[size]).attach(model)
    return model, mp.load_adaptation(Path(size, method), model)


def trainer(model, γ) -> mp.Trainer:
    """Return a trainer with AdamW."""
    return mp.Trainer(model, γ, mp.AdamW(γ.parameters(), LR))


def train(size: str, method: str, labels: str):
    """Return a training step, which returns the loss before it."""
    training = trainer(*model_and_adaptation(size, method))
    ids, labels = batch(size, method, labels)
    return lambda: training.step(ids, labels)


def forward(size: str, method: str):
    """Return a function that computes all logits, and returns one of them."""
    model, γ = model_and_adaptation(size, method)
    ids, _ = batch(size, method, "everywhere")

    def run():
        with mp.no_grad():
            return float(model(ids, γ).data[0, -1, 0])

    return run


def generate(size: str, rows: int, new: int):
    """Return a function that generates greedily, and returns the sum of the token ids."""
    mp.keep_memory()
    model, ids = mp.load(Path(size, "base")), texts(size, rows)
    return lambda: float(mp.generate(model, ids, max_new_tokens=new).sum())


def cached_probe(size: str):
    """Return a training step of a probe on features that were computed before."""
    model, γ = model_and_adaptation(size, "probe")
    ids, labels = batch(size, "probe", "everywhere")
    features = model.features(ids)[0].data
    head = Head(model.score, model.config)
    probe = mp.Probe().attach(head)
    probe.at["score"]["W"].data[...] = γ.at["score"]["W"].data
    training = trainer(head, probe)
    return lambda: training.step(features, labels)


def scale(rows: int, tokens: int):
    """Return a training step of LoRA on `rows` texts of `tokens` tokens, for a model like tiny."""
    mp.keep_memory()
    rng, s = np.random.default_rng(0), SIZES["tiny"]
    model = mp.Decoder(mp.Config(s.vocabulary, s.width, s.layers, s.heads, tokens), rng)
    training = trainer(model, METHODS["lora"](s).attach(model, rng))
    ids = rng.integers(0, s.vocabulary, (rows, tokens))
    return lambda: training.step(ids, ids) and None


def load(size: str):
    """Return a function that loads the model of this size."""
    return lambda: mp.load(Path(size, "base")) and None
