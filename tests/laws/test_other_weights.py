"""An adaptation runs on the model that it was attached to, its copies, and no other model."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.nn import Module
from minipeft.autograd.tensor import Tensor
from minipeft.model.heads import Head

CONFIG = mp.Config(vocabulary=13, width=8, layers=2, heads=2, length=64)
IDS = np.array([[1, 2, 3]])


def decoder(seed=0):
    return mp.Decoder(CONFIG, np.random.default_rng(seed))


def attached(method=None, model=None):
    return (method or mp.LoRA(2)).attach(model or decoder(), np.random.default_rng(1))


OTHERS = {
    "other weights": decoder(1),
    "changed weights": decoder().map(lambda t: Tensor(2 * t.data)),
    "merged": mp.merge(decoder(), attached().map(lambda p: Tensor(p.data + 1))),
    "a head": mp.Classifier(decoder(1), 2),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("combine", [lambda γ: γ, lambda γ: mp.Chain(None, γ), mp.Each])
def test_other_weights_are_refused(other, combine):
    with pytest.raises(ValueError, match="with other weights: use the model that it was attached"):
        OTHERS[other](IDS, combine(attached()))


@pytest.mark.parametrize(
    "use",
    [
        lambda model, γ: model.loss(IDS, IDS, γ),
        lambda model, γ: model(IDS, cache=mp.Cache(γ)),
        lambda model, γ: mp.generate(model, IDS, γ),
        lambda model, γ: mp.merge(model, γ),
        lambda model, γ: mp.Features(model)(IDS, γ),
        lambda model, γ: mp.Trainer(model, γ, mp.AdamW(γ.parameters())),
    ],
)
def test_every_use_of_other_weights_is_refused(use):
    use(decoder(), attached())
    with pytest.raises(ValueError, match="with other weights"):
        use(decoder(1), attached())


def test_a_reparametrisation_is_of_its_model():
    with pytest.raises(ValueError, match="with other weights"):
        decoder(1)(IDS, attached(mp.Encoded(mp.PrefixTuning(2))))


def test_a_bank_is_of_one_model():
    mp.stack([attached(), attached()])
    with pytest.raises(ValueError, match="attached to the same model"):
        mp.stack([attached(), attached(model=decoder(1))])


@pytest.mark.parametrize(
    "again",
    [
        lambda model, folder: decoder(),
        lambda model, folder: copy.deepcopy(model),
        lambda model, folder: copy.copy(model),
        lambda model, folder: pickle.loads(pickle.dumps(model)),
        lambda model, folder: model.astype(np.float64),
        lambda model, folder: mp.merge(model, None),
        lambda model, folder: (mp.save(model, folder), mp.load(folder))[1],
    ],
)
def test_equal_weights_are_the_same_model(again, tmp_path):
    model = decoder()
    γ, other = attached(model=model), again(model, tmp_path / "model")
    np.testing.assert_allclose(other(IDS, γ).data, model(IDS, γ).data, rtol=1e-4, atol=1e-6)


def test_a_model_of_lower_precision_is_the_same():
    γ, half = attached(), decoder().astype(np.float16)
    assert half(IDS, γ.astype(np.float16)).dtype == np.float16


def test_a_deep_copy_that_was_changed_is_another_model():
    model = decoder()
    γ, other = attached(model=model), copy.deepcopy(model)
    other.tokens.W.data[:] = 0
    with pytest.raises(ValueError, match="with other weights"):
        other(IDS, γ)


def test_the_weights_are_read_once(monkeypatch):
    read, checksum = [], Module.weights_checksum
    monkeypatch.setattr(
        Module, "weights_checksum", lambda self: (read.append(1), checksum(self))[1]
    )
    γ, model = attached(), decoder()
    for _ in range(5):
        model(IDS, γ)
    assert len(read) == 2  # when it was attached, and of the other model object
    model.to("cpu")(IDS, γ)
    assert len(read) == 2


def test_a_head_alone_has_no_weights_to_compare():
    model = mp.Classifier(decoder(), 2)
    probe = mp.Probe().attach(model)
    head, (features, _) = Head(model.score, model.config), model.features(IDS)
    trainer = mp.Trainer(head, probe, mp.AdamW(probe.parameters()))
    np.testing.assert_allclose(trainer.step(features.data, [1]), np.log(2))  # it starts at 0


def test_the_checksum_of_weights_copies_no_whole_tensor():
    """Not of a transposed view either, as Hugging Face's weights are stored."""
    model = decoder()
    model.tokens.W = Tensor(np.zeros((8, 100_000), np.float32).T)
    tracemalloc.start()
    model.weights_checksum()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < model.tokens.W.data.nbytes / 10
