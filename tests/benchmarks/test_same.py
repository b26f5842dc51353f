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
    losses = []
    for library, settings in ((ours, {}), (torch_side, {"attention": "sdpa"})):
        step = library.train(size="nano", method=method, labels="everywhere", **settings)
        losses.append([step() for _ in range(4)])
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert losses[0][3] < losses[0][0]


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
