"""Jobs of minipeft, with keep_memory(), as its commands have."""

from pathlib import Path

import minipeft as mp

from ..cases import CLASSES, LR, SIZES, batch
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


def train(size: str, method: str, labels: str):
    """Return a training step, which returns the loss before it."""
    model, γ = model_and_adaptation(size, method)
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), LR))
    ids, labels = batch(size, method, labels)
    return lambda: trainer.step(ids, labels)
