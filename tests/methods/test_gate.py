"""A gated prefix: it starts as the identity, and is saved; who has no gate."""

import json

import numpy as np
import pytest

import minipeft as mp
from tests.support.families import DECODERS, attached, batch, gradients, heads_too


@heads_too
def test_before_training_it_changes_nothing_and_only_g_has_a_gradient(model):
    γ = mp.PrefixTuning(3, gate=True).attach(model, np.random.default_rng(0))
    ids, labels, mask = batch(model, 5)
    assert np.array_equal(model(ids, γ, mask=mask).data, model(ids, mask=mask).data)
    names = [name.rpartition(".")[2] for name, _ in γ.named_parameters()]
    grads = gradients(model, ids, labels, γ, mask=mask)
    assert [g.any() for g in grads] == [name == "g" for name in names]


def test_training_opens_it():
    model = DECODERS["gpt2"]
    γ = mp.PrefixTuning(3, gate=True).attach(model, np.random.default_rng(0))
    ids, labels, mask = batch(model, 5)
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), 0.05))
    losses = [trainer.step(ids, labels, mask=mask) for _ in range(5)]
    assert losses[-1] < losses[0] and all(p["g"].data.all() for p in γ.at.values())


def test_it_is_saved_in_the_format_of_minipeft(tmp_path):
    model = DECODERS["gpt2"]
    γ = attached("gated prefix", model)
    mp.save(γ, tmp_path / "γ")
    loaded, ids = mp.load_adaptation(tmp_path / "γ", model), batch(model, 5)[0]
    config = json.loads((tmp_path / "γ" / "adapter_config.json").read_text())
    assert config["peft_type"] == "MINIPEFT_PREFIXTUNING" and loaded.method == γ.method
    np.testing.assert_allclose(model(ids, loaded).data, model(ids, γ).data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [mp.DeepPrompt, mp.PTuningV2])
def test_kinds_of_prefixes_without_a_gate(method):
    with pytest.raises(TypeError, match=rf"{method.__name__} has no field 'gate'"):
        method(gate=True)


def test_a_gate_is_not_reparametrised():
    with pytest.raises(ValueError, match="can't be reparametrised"):
        mp.Encoded(mp.PrefixTuning(1, gate=True)).attach(DECODERS["gpt2"], np.random.default_rng(0))
