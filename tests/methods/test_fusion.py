"""Fusion: attention over frozen adapters, their weights, files, and what can't be fused."""

import json

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.backend import host, on_host
from minipeft.autograd.nn import size
from tests.support import device
from tests.support.families import (
    CLASSIFIERS,
    DECODERS,
    attach_random,
    batch,
    fusion_of_three,
    head_method,
    heads_too,
)

GPT2 = DECODERS["gpt2"]
TEXT = np.array([[1, 2, 3, 4, 5]])


def rng():
    return np.random.default_rng(0)


def two(model=GPT2):
    return [attach_random(method, model) for method in (mp.Adapter(3), mp.LoRA(2))]


def arrays(γ):
    return [p.data.copy() for p in γ.parameters()]


def trained(model, γ, steps=3):
    """Train γ for some steps."""
    trainer = mp.Trainer(model, γ, mp.AdamW(γ.parameters(), 0.05))
    ids, labels, mask = batch(model, 5)
    for _ in range(steps):
        trainer.step(ids, labels, mask=mask)
    return γ


@heads_too
@pytest.mark.parametrize("n", [1, 3])
def test_copies_of_one_adapter_are_that_adapter(model, n):
    one = attach_random(mp.Adapter(3), model)
    γ = mp.Fusion([one] * n).attach(model, rng())
    ids, _, mask = batch(model, 5)
    together, alone = (host(model(ids, m, mask=mask).data) for m in (γ, one))
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-12)
    s = next(iter(γ.fusion_weights(model, ids, mask=mask).values()))
    assert s.shape[-1] == n and np.allclose(s, 1 / n)


def test_an_adapter_may_change_the_input_of_a_layer():
    ia3 = attach_random(mp.IA3(), GPT2)
    γ = mp.Fusion([ia3]).attach(GPT2, rng())
    assert np.allclose(GPT2(TEXT, γ).data, GPT2(TEXT, ia3).data, atol=1e-12)


def test_the_adapters_have_the_float_and_the_device_of_the_fusion():
    γ = mp.Fusion(two()).attach(GPT2, rng()).astype(np.float32)
    assert {p.dtype for m in γ.adapters for p in m.parameters()} == {np.dtype("f4")}
    assert GPT2.astype(np.float32)(TEXT, γ).dtype == np.float32
    γ = γ.to(device.name)
    assert not any(on_host(p.data) for m in γ.adapters for p in m.parameters())


def test_training_changes_the_fusion_alone():
    adapters = two()
    γ = mp.Fusion(adapters).attach(GPT2, rng())
    before, base = [arrays(m) for m in (*adapters, *γ.adapters)], arrays(GPT2)
    start = arrays(γ)
    trained(GPT2, γ)
    after = [arrays(m) for m in (*adapters, *γ.adapters)]
    assert all(np.array_equal(x, y) for xs, ys in zip(before, after) for x, y in zip(xs, ys))
    assert all(np.array_equal(x, y) for x, y in zip(base, arrays(GPT2)))
    assert not any(np.array_equal(x, y) for x, y in zip(start, arrays(γ)))
    assert not any(p.requires_grad for m in γ.adapters for p in m.parameters())
    assert {name.rpartition(".")[2] for name, _ in γ.named_parameters()} == {"Q", "K", "V"}


def test_an_adapter_that_is_trained_on_leaves_the_fusion_as_it_was():
    adapters = two()
    γ = mp.Fusion(adapters).attach(GPT2, rng())
    z = GPT2(TEXT, γ).data
    trained(GPT2, adapters[0])
    assert np.array_equal(GPT2(TEXT, γ).data, z)


def test_users_of_one_fusion_are_a_bank():
    fusion = mp.Fusion(two())
    users = [trained(GPT2, fusion.attach(GPT2, np.random.default_rng(i))) for i in range(2)]
    z = GPT2(np.repeat(TEXT, 2, 0), mp.stack(users).of([1, 0])).data
    assert np.allclose(z, np.concatenate([GPT2(TEXT, γ).data for γ in users[::-1]]), atol=1e-12)


def test_fusions_of_other_adapters_are_of_two_kinds():
    users = [mp.Fusion(two()).attach(GPT2, rng()) for _ in range(2)]
    users[1].adapters[0].at["blocks.0.mlp.down"]["U"].data += 1
    z = GPT2(np.repeat(TEXT, 2, 0), mp.Each(users)).data
    assert np.allclose(z, np.concatenate([GPT2(TEXT, γ).data for γ in users]), atol=1e-12)
    with pytest.raises(ValueError, match="these differ"):
        mp.stack(users)


def test_the_layers_are_those_in_the_blocks_that_an_adapter_adapts():
    norms = attach_random(mp.LayerNormTuning(), GPT2)
    γ = mp.Fusion([norms, attach_random(mp.Adapter(3, mp.methods.PFEIFFER), GPT2)])
    paths = {"ln1", "ln2", "mlp.down"}
    assert {*γ.attach(GPT2, rng()).at} == {f"blocks.{i}.{p}" for i in range(2) for p in paths}
    γ = mp.Fusion(γ.adapters, targets=r"0\.mlp")
    assert {*γ.attach(GPT2, rng()).at} == {"blocks.0.mlp.down"}


# -- files


@pytest.mark.parametrize("name", ["gpt2", "mean"])
def test_it_is_saved_with_its_adapters(name, tmp_path):
    model = (DECODERS | CLASSIFIERS)[name]
    γ = fusion_of_three(model).attach(model, rng())
    γ = trained(model, γ if name == "gpt2" else mp.Chain(γ, mp.Probe().attach(model)))
    mp.save(γ, tmp_path / "γ")
    loaded, (ids, _, mask) = mp.load_adaptation(tmp_path / "γ", model), batch(model, 5)
    assert loaded.method == γ.method and size(loaded) == size(γ)
    y, z = (model(ids, m, mask=mask).data for m in (loaded, γ))
    np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-4)  # as float32 in the file
    fused = loaded.parts[0] if name == "mean" else loaded
    assert not any(p.requires_grad for m in fused.adapters for p in m.parameters())


def test_a_fusion_of_a_fusion_is_saved(tmp_path):
    inner = trained(GPT2, mp.Fusion(two()).attach(GPT2, rng()))
    γ = trained(GPT2, mp.Fusion([inner, *two()]).attach(GPT2, rng()))
    mp.save(γ, tmp_path / "γ")
    loaded = mp.load_adaptation(tmp_path / "γ", GPT2)
    assert np.allclose(GPT2(TEXT, loaded).data, GPT2(TEXT, γ).data, atol=1e-4)


def test_a_chain_with_a_network_is_resumed(tmp_path):
    chain = mp.Chain(mp.Fusion(two()), mp.Encoded(mp.PrefixTuning(2), 6))
    γ = trained(GPT2, chain.attach(GPT2, rng()))
    mp.save(γ, tmp_path / "γ")
    for resume in (False, True):
        loaded = mp.load_adaptation(tmp_path / "γ", GPT2, resume=resume)
        assert np.allclose(GPT2(TEXT, loaded).data, GPT2(TEXT, γ).data, atol=1e-4)


@pytest.mark.parametrize("adapters", [[], [1], 3, "x", [{"peft_type": "x"}], [{}], [[{}]], None])
def test_a_malformed_list_of_adapters_is_refused(adapters, tmp_path):
    mp.save(mp.Fusion(two()).attach(GPT2, rng()), tmp_path / "γ")
    path = tmp_path / "γ" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"adapters": adapters}))
    with pytest.raises(mp.CheckpointError, match="adapter_config.json"):
        mp.load_adaptation(tmp_path / "γ", GPT2)


def test_a_dora_whose_norm_is_0_is_refused_among_the_adapters(tmp_path):
    dora = mp.DoRA(2).attach(GPT2, rng())
    γ = mp.Fusion([dora]).attach(GPT2, rng())
    path = next(iter(γ.at))
    W = dict(GPT2.modules())[path].W.data
    A, B = np.zeros((W.shape[0], 2)), np.zeros((2, W.shape[1]))
    A[:, 0], B[0, 0], scale = W[:, 0], -1, γ.adapters[0].method.scale
    A = A / scale  # column 0 of W + (α/r) A B is 0
    γ.adapters[0].at[path] |= {"A": mp.Tensor(A), "B": mp.Tensor(B)}
    mp.save(γ, tmp_path / "γ")
    with pytest.raises(mp.CheckpointError, match="DoRA divides by the norms"):
        mp.load_adaptation(tmp_path / "γ", GPT2.astype(np.float32))


# -- what can't be fused


def mixed(model):
    return mp.Each(two(model))


@pytest.mark.parametrize(
    "make",
    [
        lambda m: mp.PromptTuning(2).attach(m, rng()),
        lambda m: mp.PrefixTuning(2).attach(m, rng()),
        lambda m: mp.DeepPrompt(2).attach(m, rng()),
        lambda m: mp.Encoded(mp.PrefixTuning(2), 6).attach(m, rng()),
        lambda m: mp.PTuning("[P] {x}", layers=1).attach(m, rng()),
        lambda m: mp.Chain(mp.LoRA(2), mp.PromptTuning(2)).attach(m, rng()),
        lambda m: mp.stack(two(m)[:1] * 2),
        mixed,
    ],
)
def test_what_has_no_single_output_at_a_layer_is_refused(make):
    with pytest.raises(ValueError, match="can't be fused: a bank, a mixture and virtual tokens"):
        mp.Fusion([*two(), make(GPT2)]).attach(GPT2, rng())


@pytest.mark.parametrize("adapters", [(), [], 3, [3], [None], "ab"])
def test_what_is_no_list_of_adapters_is_refused(adapters):
    with pytest.raises(ValueError, match=r"Fusion needs adaptations, such as \[ann, bob\]; got"):
        mp.Fusion(adapters)


def test_an_adapter_of_another_model_is_refused():
    with pytest.raises(ValueError, match="was made for"):
        mp.Fusion(two(DECODERS["llama"])).attach(GPT2, rng())


def test_a_head_alone_can_not_be_fused():
    model = CLASSIFIERS["last"]
    with pytest.raises(ValueError, match="no layer matches"):
        mp.Fusion([head_method(model).attach(model, rng())]).attach(model, rng())


def test_a_gated_prefix_is_fused():
    gated = attach_random(mp.PrefixTuning(2, gate=True), GPT2)
    γ = mp.Fusion([gated]).attach(GPT2, rng())
    assert np.allclose(GPT2(TEXT, γ).data, GPT2(TEXT, gated).data, atol=1e-12)
