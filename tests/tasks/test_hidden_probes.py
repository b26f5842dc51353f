"""Probes with a hidden layer, and heads that pool by attention: trained, saved, merged, refused."""

import numpy as np
import pytest

import minipeft as mp
from minipeft import Chain, LoRA, Probe
from minipeft.autograd.nn import replace
from minipeft.autograd.tensor import grad
from minipeft.commands.folders import load_with_network
from minipeft.storage.json import CheckpointError
from minipeft.tasks.base import Task
from minipeft.tasks.classify import Classify
from minipeft.tasks.compare import Comparison
from minipeft.tasks.plan import Plan
from minipeft.tasks.tag import Tag
from tests.support.families import (
    ATTENTIVE,
    CLASSIFIERS,
    DECODERS,
    C,
    attach_random,
    batch,
    row,
)
from tests.support.folders import assert_same, read_config
from tests.tasks.test_probes import make_base, make_task, rng, tokenizer  # noqa: F401


def fit(task, adaptation, steps=200):
    """Train an adaptation on the task; return the losses."""
    model, batches = task.model_and_batches(adaptation, 16, rng())
    trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), 1e-2))
    return trainer.fit(batches, steps, progress=False)


# -- training on features -------------------------------------------------------------


@pytest.mark.parametrize("kind", [Classify, Tag])
def test_a_hidden_probe_is_trained_on_features_computed_once(kind, tokenizer, monkeypatch):  # noqa: F811
    pool = {"pool": "mean"} if kind is Classify else {}
    task, runs = make_task(kind, make_base("decoder"), tokenizer, **pool), []
    run = Classify.read_features
    monkeypatch.setattr(Classify, "read_features", lambda *a: (runs.append(a[1]), run(*a)))
    method = Probe(hidden=8)
    assert not task.is_solved(method) and task.is_solved(Probe())
    probe = task.attach(method, rng())
    losses = fit(task, probe)
    for split in task.splits:
        assert task.predict(probe, split) == Task.predict(task, probe, split)
    assert runs == [*dict.fromkeys(["train", *task.splits])]
    assert np.mean(losses[-10:]) < 0.6 * losses[0]
    assert task.evaluate(probe, "test")["accuracy"] > task.majority("test")["accuracy"]


def test_a_hidden_probe_can_not_be_solved(tokenizer):  # noqa: F811
    task = make_task(Classify, make_base("decoder"), tokenizer)
    for method in Probe(hidden=8), Chain(LoRA(2), Probe(hidden=8)):
        adaptation = task.attach(method, rng())
        before = [p.data.copy() for p in adaptation.parameters()]
        with pytest.raises(ValueError, match="does not train the matrix of the head"):
            task.solve(adaptation)
        task.start_head(adaptation)  # which is for a linear head
        assert all(map(np.array_equal, before, [p.data for p in adaptation.parameters()]))


def test_a_head_that_pools_by_attention_is_trained_through_the_network(tokenizer):  # noqa: F811
    task = make_task(Classify, make_base("decoder"), tokenizer, pool="attention")
    assert task.choose_pool() is None and not task.is_solved(Probe())
    for method in Probe(), Probe(hidden=8), LoRA(2):
        adaptation = task.attach(method, rng())
        assert adaptation.adapts("query") and adaptation.adapts("score")
        task.start_head(adaptation)
        fit(task, adaptation, 20)
        (q,) = [head["W"] for m in adaptation.leaves() if (head := m.at.get("query"))]
        assert np.abs(q.data).max() > 0.01
        assert task.predict(adaptation, "test") == Task.predict(task, adaptation, "test")


def test_a_comparison_trains_what_is_not_solved(tokenizer):  # noqa: F811
    plan = Plan(steps=6, pilot_steps=0, seeds=1, lrs=(0.01,), hidden=4)
    for pool, changes in (None, {}), ("attention", {"hidden": None}):
        task = make_task(Classify, make_base("decoder"), tokenizer, pool=pool)
        comparison = Comparison(task, replace(plan, **changes))
        *_, report = comparison.run(["lora", "probe"])
        probe, lora = report["results"]
        assert [probe["method"], lora["method"]] == ["probe", "lora"]
        assert probe["lr"] == 0.01 and len(probe["losses"][0]) == 6
        assert comparison.adaptations["probe"].method == Probe(
            hidden=plan.hidden if not pool else None
        )


# -- attention pooling ----------------------------------------------------------------


def test_attention_starts_at_the_mean_and_reads_real_tokens_only():
    ids, labels, mask = batch(ATTENTIVE, 5)
    mean, attention = (mp.Classifier(DECODERS["rotary"], C, pool) for pool in ("mean", "attention"))
    x, y = (model.features(ids, mask=mask)[0].data for model in (mean, attention))
    assert np.abs(x - y).max() <= 1e-14
    probe = attach_random(Probe(), ATTENTIVE)
    z = ATTENTIVE(ids, probe, mask=mask).data
    for i in range(5):
        text, _ = row(i, ids, labels, mask)
        assert np.abs(ATTENTIVE(text, probe).data[0] - z[i]).max() <= 1e-12


def test_gradients_of_the_query_are_differences():
    ids, labels, mask = batch(ATTENTIVE, 5)
    probe = attach_random(Probe(), ATTENTIVE)
    loss = lambda: ATTENTIVE.loss(ids, labels, probe, mask=mask)
    for p, g in zip(probe.parameters(), grad(loss(), probe.parameters())):
        v = rng().normal(size=p.shape)
        values = []
        for e in (1e-5, -1e-5):
            p.data = p.data + e * v
            values.append(float(loss()))
            p.data = p.data - e * v
        assert abs((values[0] - values[1]) / 2e-5 - (g * v).sum()) < 1e-8 * np.linalg.norm(v)


# -- folders and merging --------------------------------------------------------------

PARTS = {"alone": Probe(hidden=5), "in a chain": Chain(LoRA(2), Probe(hidden=5))}


@pytest.mark.parametrize("method", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("pool", ["last", "attention"])
def test_a_hidden_probe_is_saved_in_our_format(method, pool, tmp_path):
    base = DECODERS["gpt2"]
    model = mp.Classifier(base, C, pool)
    γ = attach_random(method, model)
    mp.save(γ, tmp_path / "a", dtype=np.float64)
    assert read_config(tmp_path / "a")["peft_type"].startswith("MINIPEFT_")
    loaded, network = load_with_network(tmp_path / "a", base)
    assert network.pool == pool and loaded.method == method
    assert_same(γ, loaded)
    ids, _, mask = batch(model, 3)
    assert np.array_equal(model(ids, γ, mask=mask).data, network(ids, loaded, mask=mask).data)


def test_what_is_made_for_attention_is_saved_in_our_format(tmp_path):
    """A LoRA alone, too: PEFT has no model with a query, and could not load it."""
    model = mp.Classifier(DECODERS["gpt2"], C, "attention")
    for i, method in enumerate(
        [LoRA(2), Chain(LoRA(2), Probe()), Chain(LoRA(2), mp.FullFineTuning("^query$"))]
    ):
        γ = attach_random(method, model)
        mp.save(γ, tmp_path / str(i), dtype=np.float64)
        assert read_config(tmp_path / str(i))["peft_type"].startswith("MINIPEFT_")
        assert_same(γ, mp.load_adaptation(tmp_path / str(i), model))
    mp.save(attach_random(LoRA(2), DECODERS["gpt2"]), tmp_path / "peft")
    assert mp.load_adaptation(tmp_path / "peft", model).method == LoRA(2)


def test_a_hidden_probe_is_not_merged():
    model = CLASSIFIERS["mean"]
    with pytest.raises(ValueError, match="Probe can't be merged, .* weights of score"):
        mp.merge(model, attach_random(Probe(hidden=5), model))


def test_attention_is_merged_and_not_saved_as_a_model(tmp_path):
    model = mp.Classifier(DECODERS["gpt2"], C, "attention")
    probe, (ids, _, mask) = attach_random(Probe(), model), batch(model, 3)
    merged = mp.merge(model, probe)
    assert np.array_equal(merged(ids, mask=mask).data, model(ids, probe, mask=mask).data)
    with pytest.raises(CheckpointError, match="have pool='last', not 'attention'"):
        mp.save(merged, tmp_path / "m")


def test_a_new_head_has_no_query_of_the_old_one():
    for head in mp.TokenClassifier(ATTENTIVE, C), mp.Features(ATTENTIVE):
        assert not [name for name, _ in head.named_parameters() if "query" in name]


def test_a_hidden_layer_has_a_width_and_a_generator():
    for hidden in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=f"hidden={hidden} must be an integer of at least 1"):
            Probe(hidden=hidden)
    with pytest.raises(ValueError, match="needs rng="):
        Probe(hidden=4).attach(CLASSIFIERS["last"])
