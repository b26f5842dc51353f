"""PyTorch with PEFT has the same loss and gradients; another number anywhere is noticed."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import numpy as np

from benchmarks import start
from benchmarks.cases import METHODS, exists
from benchmarks.libraries import ours, same, torch_side

pytestmark = pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
BOTH = (ours, {}), (torch_side, {"attention": "sdpa"})  # libraries, and what they need beside


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("size", ["nano", "llama"])
@pytest.mark.parametrize("method", METHODS)
def test_same_loss_and_gradients(folder, size, method):
    if exists(size, method):
        start.adaptation(folder, size, method)
        assert 0 < same.check(size, method, "everywhere")() < 10


@pytest.mark.parametrize("method", METHODS)
def test_both_train(folder, method):
    start.adaptation(folder, "nano", method)
    case = {"size": "nano", "method": method, "labels": "everywhere"}
    steps = [library.train(**case, **settings) for library, settings in BOTH]
    losses = [[step() for _ in range(4)] for step in steps]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert losses[0][3] < losses[0][0]


@pytest.mark.parametrize("size", ["nano", "llama"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_jax_trains_as_we_do(folder, size, method):
    pytest.importorskip("jax")
    from benchmarks.libraries import jax_side

    start.adaptation(folder, size, method)
    steps = [library.train(size, method, "answer") for library in (ours, jax_side)]
    losses = [[step() for _ in range(3)] for step in steps]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_forward_passes_and_generation_are_the_same(folder):
    for method in ("lora", "prompt", "prefix"):
        start.adaptation(folder, "nano", method)
        logits = [library.forward("nano", method, **s)() for library, s in BOTH]
        np.testing.assert_allclose(*logits, rtol=1e-4)
    tokens = [library.generate("nano", rows=2, new=6, **settings)() for library, settings in BOTH]
    assert tokens[0] == tokens[1]


def test_another_loss_is_noticed(folder, monkeypatch):
    start.adaptation(folder, "nano", "lora")
    monkeypatch.setattr(torch_side, "batch", lambda *case: other_labels(*ours.batch(*case)))
    with pytest.raises(ArithmeticError, match="loss: differs by"):
        same.check("nano", "lora", "everywhere")


def test_another_gradient_is_noticed(folder, monkeypatch):
    start.adaptation(folder, "nano", "lora")
    correct = same.gradients
    scaled = lambda *a: correct(*a) | {"blocks.1.attn.v.B": 1.01 * correct(*a)["blocks.1.attn.v.B"]}
    monkeypatch.setattr(same, "gradients", scaled)
    with pytest.raises(ArithmeticError, match="gradient of blocks.1.attn.v.B: differs by"):
        same.check("nano", "lora", "everywhere")


def other_labels(ids, labels):
    """Return the batch with another label at one token."""
    labels = labels.copy()
    labels[0, -1] = (labels[0, -1] + 1) % 64
    return ids, labels
