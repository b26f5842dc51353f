"""A recorded pass computes what the model computes, and scaling is what it says."""

import dataclasses

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.backend import host
from minipeft.autograd.tensor import Tensor
from minipeft.inspection.recording import Pass
from minipeft.model.heads import Classifier, SpanClassifier
from tests.support import families as f

ADDING = {  # methods that only add to the outputs of layers
    "lora": "B",
    "bitfit": "delta",
    "random weights": "delta",
    "parallel adapter": "W_up",
    "multi-head adapter": "W_up",
}
FRONT = "prefix that shifts nothing"


def read(model, name, **options):
    """Return the adaptation, ids (1, T) and the recorded pass of one text."""
    γ = f.attached(name, model)
    ids = f.batch(model, 1, γ)[0]
    written = np.maximum(ids[0], 0) if model in f.SEQ2SEQ.values() else None
    return γ, ids, Pass(model, ids[0], γ.resolve(), written, **options)


@f.networks
@f.methods
def test_a_recorded_pass_is_that_of_the_model(model, name):
    γ, ids, passed = read(model, name)
    z = host(model(ids, γ).data)
    expected = z if isinstance(model, Classifier) else z[0]
    expected = expected.T if isinstance(model, SpanClassifier) else expected
    np.testing.assert_allclose(passed.logits, expected, atol=1e-11)


@f.networks
@f.methods
def test_attention_weights_give_the_heads(model, name):
    _, _, passed = read(model, name)
    for recorder in passed.stacks.values():
        assert recorder.attended
        for path, a in recorder.attended.items():
            np.testing.assert_allclose(a.weights.sum(-1), 1, atol=1e-12)
            heads = np.concatenate([*(a.weights @ a.v)], axis=-1)
            np.testing.assert_allclose(heads, recorder.inputs[f"{path}.o"], atol=1e-11)


@f.networks
@f.methods
def test_scaled_by_1_it_is_the_adaptation(model, name):
    one = read(model, name, scale=lambda path: 1.0)[2]
    np.testing.assert_array_equal(one.logits, read(model, name)[2].logits)


@f.decoders
@pytest.mark.parametrize("name", [*ADDING, FRONT, "ia3", "houlsby", "dora", "norms"])
def test_scaled_by_0_it_is_the_base(model, name):
    _, ids, zero = read(model, name, scale=lambda path: 0.0)
    np.testing.assert_allclose(zero.logits, host(model(ids).data)[0], atol=1e-11)


@f.decoders
@pytest.mark.parametrize("s", [0.5, 2.0])
@pytest.mark.parametrize("name", ADDING)
def test_scaling_multiplies_what_is_added(model, name, s):
    """As if the last factor were s times as large."""
    γ, ids, passed = read(model, name, scale=lambda path: s)
    last = {id(ps[ADDING[name]]) for ps in γ.at.values()}
    larger = γ.map(lambda p: Tensor(p.data * s) if id(p) in last else p)
    np.testing.assert_allclose(passed.logits, host(model(ids, larger).data)[0], atol=1e-11)


@pytest.mark.parametrize("name", [FRONT, "prompt of 3", "pseudo-tokens", "rows of every block"])
def test_scaling_multiplies_the_odds_of_virtual_tokens(name):
    """In the first block, whose queries do not change: λ / (1 - λ) is multiplied by s."""
    for model in f.DECODERS["rotary"], f.ENCODERS["bert"], f.SEQ2SEQ["t5"]:
        odds = []
        for s in 1.0, 3.0:
            recorder = [*read(model, name, scale=lambda path, s=s: s)[2].stacks.values()][0]
            a = next(iter(recorder.attended.values()))
            λ = a.weights[:, ~recorder.virtual][..., a.virtual].sum(-1)
            odds.append(λ / (1 - λ))
        np.testing.assert_allclose(odds[1], 3 * odds[0], rtol=1e-9)


def test_a_virtual_token_of_scale_0_is_not_read():
    """A prefix without its last row, at the same positions, is that row scaled by 0."""
    model = f.DECODERS["gpt2"]
    γ, ids, _ = read(model, FRONT)
    keep = lambda path: np.array([1.0, 1.0, 0.0])
    without = Pass(model, ids[0], γ, scale=keep).logits
    shorter = γ.map(lambda p: Tensor(p.data[:2]))
    shorter.method = dataclasses.replace(γ.method, length=2)
    np.testing.assert_allclose(without, host(model(ids, shorter).data)[0], atol=1e-11)


@f.decoders
@pytest.mark.parametrize("name", ["lora", FRONT, "prompt of 3", "mam"])
def test_known_blocks_are_not_computed_and_change_nothing(model, name):
    _, _, passed = read(model, name)
    known = passed.before("blocks.1")
    assert list(known) == ["blocks.0"]
    again = read(model, name, known=known)[2]
    np.testing.assert_array_equal(again.logits, passed.logits)
    assert "blocks.0.attn" in passed.last.outputs and "blocks.0.attn" not in again.last.outputs


def test_blocks_before_another_place_are_none():
    _, _, passed = read(f.DECODERS["gpt2"], "lora")
    assert passed.before("tokens") == {} == passed.before("blocks.0")


def test_an_adaptation_of_another_model_is_refused():
    γ = mp.LoRA().attach(f.decoder(f.ROTARY), np.random.default_rng(0))
    with pytest.raises(ValueError, match="was made for"):
        Pass(f.DECODERS["gpt2"], np.array([1, 2]), γ)
