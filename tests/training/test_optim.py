"""AdamW's weight decay, the parameters it leaves out, and its two places of ε."""

import math

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.products import in_blocks
from minipeft.training.parallel import Pool


def parameters():
    """A matrix and a bias of (1, O), as those of an adaptation have two axes."""
    arrays = np.full((3, 2), 2.0), np.full((1, 2), 2.0)
    return [mp.Tensor(array, requires_grad=True) for array in arrays]


def test_no_decay_leaves_parameters_out_of_weight_decay():
    W, b = parameters()
    optimizer = mp.AdamW([W, b], lr=0.1, weight_decay=0.5, no_decay=[b])
    optimizer.step([np.zeros((3, 2)), np.zeros((1, 2))])
    np.testing.assert_allclose(W.data, 2 * (1 - 0.1 * 0.5), rtol=1e-15)
    assert (b.data == 2).all()


def test_no_decay_must_be_among_the_parameters():
    W, b = parameters()
    with pytest.raises(ValueError, match="no_decay has a tensor that is not one of the parameters"):
        mp.AdamW([W], weight_decay=0.5, no_decay=[b])


def test_a_training_is_resumed_only_with_the_same_no_decay(tmp_path):
    model = mp.Decoder(mp.Config(13, 8, layers=1, heads=2, length=16), np.random.default_rng(0))

    def trainer(weight_decay=0.1, no_decay=lambda path: False):
        θ = mp.FullFineTuning().attach(model)
        left_out = [p for path, p in θ.named_parameters() if no_decay(path)]
        optimizer = mp.AdamW(θ.parameters(), weight_decay=weight_decay, no_decay=left_out)
        return mp.Trainer(model, θ, optimizer)

    biases = lambda path: path.endswith(".b")
    trainer(no_decay=biases).save(tmp_path / "biases")
    trainer().save(tmp_path / "all")
    trainer(no_decay=biases).resume(tmp_path / "biases")
    trainer().resume(tmp_path / "all")
    for folder, other in {"biases": trainer(), "all": trainer(no_decay=biases)}.items():
        with pytest.raises(mp.CheckpointError, match="weight_decay"):
            other.resume(tmp_path / folder)


def test_eps_hat_is_the_epsilon_of_tensorflow():
    """TensorFlow's Adam adds ε to √v, not to √v̂: with it the first steps are smaller."""
    rng = np.random.default_rng(0)
    p, start = mp.Tensor(np.ones(3), requires_grad=True), np.ones(3)
    optimizer = mp.AdamW([p], lr=0.1, eps=1e-2, eps_hat=True)
    m, v, expected = np.zeros(3), np.zeros(3), start.copy()
    for t in range(1, 6):
        g = rng.normal(0, 0.05, 3)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        α = 0.1 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected = expected - α * m / (np.sqrt(v) + 1e-2)
        optimizer.step([g])
        assert np.allclose(p.data, expected, rtol=1e-14)
        if t == 1:
            usual = mp.AdamW([mp.Tensor(start.copy(), requires_grad=True)], lr=0.1, eps=1e-2)
            usual.step([g])
            assert (abs(usual.parameters[0].data - 1) > 2 * abs(expected - 1)).all()


def test_a_training_is_resumed_only_with_the_same_epsilon(tmp_path):
    model = mp.Decoder(mp.Config(13, 8, layers=1, heads=2, length=16), np.random.default_rng(0))

    def trainer(eps_hat):
        δ = mp.BitFit().attach(model)
        return mp.Trainer(model, δ, mp.AdamW(δ.parameters(), eps_hat=eps_hat))

    trainer(True).save(tmp_path)
    trainer(True).resume(tmp_path)
    with pytest.raises(mp.CheckpointError, match="eps"):
        trainer(False).resume(tmp_path)


def test_adamw_in_blocks_has_the_bits_of_adamw(monkeypatch):
    """Whatever thread updates a block, and if the last one has fewer rows."""
    shapes, rng = [(7, 3), (2, 2), (5,), ()], np.random.default_rng(0)
    grads = [[rng.normal(size=shape) for shape in shapes] for _ in range(3)]

    def trained():
        parameters = [mp.Tensor(np.ones(shape), requires_grad=True) for shape in shapes]
        optimizer = mp.AdamW(parameters, weight_decay=0.1)
        with in_blocks(Pool(2).map):
            for g in grads:
                optimizer.step(g)
        return len(optimizer.blocks), [p.data for p in parameters]

    n, whole = trained()
    monkeypatch.setattr("minipeft.training.optim.BLOCK", 4)
    more, blocks = trained()
    assert (n, more) == (4, 7 + 1 + 2 + 1) and all(map(np.array_equal, whole, blocks))
    with pytest.raises(ValueError, match="1 gradients were given for 2 parameters"):
        mp.AdamW([mp.Tensor(1.0, requires_grad=True) for _ in "ab"]).step([1.0])
