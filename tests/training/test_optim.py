"""AdamW's weight decay, and the parameters it leaves out."""

import numpy as np
import pytest

import minipeft as mp


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
