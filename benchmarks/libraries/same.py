"""Job that checks that PyTorch computes the same.  Only here both are in one process."""

import tempfile
from functools import partial

import numpy as np
import torch

import minipeft as mp

from ..cases import batch
from . import TOLERANCE, ours
from .torch_side import Training, mlps

ZERO = 0.01  # or, where it is almost 0, relative to this share of the largest entry of all


def check(size: str, method: str, labels: str):
    """Return a function that returns our loss; raise ArithmeticError if PyTorch's is another.

    The gradient of every trained parameter is compared, too.
    """
    model, γ = ours.model_and_adaptation(size, method)
    ids, targets = batch(size, method, labels)
    loss = model.loss(ids, targets, γ)
    names = {id(p): name for name, p in γ.named_parameters()}
    want = dict(zip([names[id(p)] for p in γ.parameters()], mp.grad(loss, γ.parameters())))
    for tuned, attention in ((False, "eager"), (True, "sdpa")):
        training = Training(size, method, labels, attention, tuned)
        their_loss = training.loss()
        their_loss.backward()
        compare("loss", float(loss), float(their_loss.detach()))
        found = gradients(training, model, γ)
        almost_zero = ZERO * max(abs(g).max() for g in want.values())
        for name, g in want.items():
            compare(f"gradient of {name}", g, found[name], almost_zero)
    return partial(float, loss)


def compare(name, want, found, almost_zero=0.0):
    """Raise ArithmeticError if two arrays differ by more than the tolerance."""
    largest, error = np.abs(want).max(), np.abs(want - found).max()
    if not error <= TOLERANCE * max(largest, almost_zero):
        raise ArithmeticError(f"{name}: differs by {error:.1e}, its largest entry is {largest:.1e}")


def gradients(training, model, γ) -> dict:
    """Return {name of our parameter: PyTorch's gradient}.

    It is written in place of the weights, so that what reads the weights reads it under our names.
    """
    network, method = training.network, training.method
    with torch.no_grad():
        for p in training.trained:
            p.copy_(p.grad)
    if method == "probe":
        return {"score.W": network.W.detach().numpy()}
    if method == "adapter":
        layers = [getattr(mlp, "c_proj", None) or mlp.down_proj for mlp in mlps(network)]
        named = [(f"blocks.{i}.mlp.down.", layer) for i, layer in enumerate(layers)]
        return {at + n: getattr(layer, n).detach().numpy() for at, layer in named for n in "DbUc"}
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        if method not in ("full", "bitfit"):
            found = mp.load_adaptation(folder, model)
            return {name: p.data for name, p in found.named_parameters()}
        layers = mp.load(folder).modules()
        found = {f"{path}.{n}": t for path, layer in layers for n, t in layer.tensors().items()}
        names = [name for name, _ in γ.named_parameters()]
        return {name: np.array(found[name.replace("delta", "b")].data) for name in names}
