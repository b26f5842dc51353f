"""Probes of a task: solved on features that the trunk computes once, for every pool."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.tensor import grad
from minipeft.tasks.base import Task
from minipeft.tasks.classify import Classify, classifier
from minipeft.tasks.tag import Tag
from minipeft.training.logistic import GAP
from minipeft.training.trainer import NonFinite
from minipeft.world.vocabulary import train_tokenizer

WORDS = {"hot": "good", "fresh": "good", "cold": "bad", "stale": "bad"}
POOLS = {
    "decoder": ["last", "mean"],
    "encoder": ["cls", "first", "mean"],
    "bare": ["mean", "first"],
}


def rng():
    return np.random.default_rng(0)


def classify_example(i):
    """A text, and its class: that of its second word."""
    word = list(WORDS)[i % 4]
    return f"the {word} {'tea soup bread'.split()[i % 3]} {i} was good" + " now" * (i % 5), WORDS[
        word
    ]


def tag_example(i):
    text, label = classify_example(i)
    return text, [(0, 3, "X"), (4, 4 + text[4:].index(" "), label)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([classify_example(i)[0] for i in range(60)], 300)


def make_base(kind, seed=0):
    network, config = (mp.Decoder, mp.Config) if kind == "decoder" else (mp.Encoder, mp.BertConfig)
    base = network(config(300, 8, layers=1, heads=2, length=40), np.random.default_rng(seed))
    if kind == "bare":
        del base.pooler
    return base.astype(np.float64)


def make_task(kind, base, tokenizer, **options):
    example = classify_example if kind is Classify else tag_example
    splits = {"train": range(60), "dev": range(60, 90), "test": range(90, 130)}
    splits = {split: [example(i) for i in numbers] for split, numbers in splits.items()}
    return kind("made", splits, base, tokenizer, **options)


kinds = pytest.mark.parametrize("kind", [Classify, Tag])
bases = pytest.mark.parametrize("base", POOLS)


@kinds
@bases
def test_the_gradient_through_the_model_is_0_at_the_solved_probe(kind, base, tokenizer):
    """Of the mean loss of the training examples plus λ/2 ‖W‖², with autograd and no cache."""
    task = make_task(kind, make_base(base), tokenizer)
    probe = task.attach(mp.Probe(), rng())
    λ, (W,) = task.solve(probe), probe.parameters()
    ids, labels, mask, token_types = task.collate(task.examples["train"])
    loss = task.network.loss(ids, labels, probe, mask=mask, token_types=token_types)
    (g,) = grad(loss, [W])
    assert np.abs(W.data).max() > 0.05
    assert ((g + λ * W.data) ** 2).sum() <= 2 * λ * GAP * 1.001


@kinds
def test_predictions_of_a_probe_are_those_of_the_network(kind, tokenizer):
    task = make_task(kind, make_base("decoder"), tokenizer)
    probe = task.attach(mp.Probe(), rng())
    task.solve(probe)
    for split in task.splits:
        assert task.predict(probe, split) == Task.predict(task, probe, split)
    assert task.evaluate(probe, "test")["accuracy"] > task.majority("test")["accuracy"]


@kinds
def test_every_adaptation_with_a_head_can_start_at_the_solved_probe(kind, tokenizer):
    task = make_task(kind, make_base("decoder"), tokenizer)
    probe, lora, full = (
        task.attach(method, rng()) for method in (mp.Probe(), mp.LoRA(), mp.FullFineTuning())
    )
    λ = task.solve(probe)
    (W,) = probe.parameters()
    for adaptation, head in (lora, lora.parts[1].at["score"]), (full, full.at["score"]):
        assert not head["W"].data.any()
        assert task.solve(adaptation) == λ and np.array_equal(head["W"].data, W.data)
        assert task.predict(adaptation, "test") == task.predict(probe, "test")
    with pytest.raises(ValueError, match="does not train the matrix of the head"):
        task.solve(mp.LoRA().attach(task.network, rng()))


@bases
def test_the_trunk_runs_once_for_all_pools(base, tokenizer, monkeypatch):
    """The features are those of each classifier alone, and the best pool on dev is chosen."""
    task, runs = make_task(Classify, make_base(base), tokenizer), []
    run = Classify.read_features
    monkeypatch.setattr(Classify, "read_features", lambda *a: (runs.append(a[1]), run(*a)))
    assert task.pool == POOLS[base][0]
    scores = task.choose_pool()
    assert runs == ["train", "dev"] and [*scores] == POOLS[base]
    assert task.pool == task.network.pool == max(scores, key=scores.get)
    for pool, score in scores.items():
        alone = make_task(Classify, task.base, tokenizer, pool=pool)
        assert alone.choose_pool() is None and alone.pool == pool
        assert np.abs(alone.features("dev") - task.cache[pool, "dev"]).max() < 1e-12
        probe = alone.attach(mp.Probe(), rng())
        alone.solve(probe)
        assert alone.evaluate(probe, "dev")["accuracy"] == score


def test_the_first_of_equally_good_pools_is_chosen(tokenizer):
    same = [("tea", "a"), ("soup", "b")] * 3  # dev: every pool has all right
    task = Classify("same", {"train": same, "dev": same[:2]}, make_base("encoder"), tokenizer)
    assert task.choose_pool() == {"cls": 1, "first": 1, "mean": 1} and task.pool == "cls"


def test_a_tagger_and_a_trained_head_have_no_pool_to_choose(tokenizer):
    tagger = make_task(Tag, make_base("decoder"), tokenizer)
    assert tagger.choose_pool() is tagger.pool is None
    with pytest.raises(ValueError, match="a tagger reads every word, so it has no pool"):
        make_task(Tag, tagger.base, tokenizer, pool="mean")
    model = classifier(make_base("decoder"), 2)
    task = make_task(Classify, model, tokenizer, classes=["bad", "good"])
    assert task.choose_pool() is None and task.network is model and task.pool == "last"
    with pytest.raises(ValueError, match="was trained with pool='last', and is kept"):
        make_task(Classify, model, tokenizer, classes=["bad", "good"], pool="mean")


@kinds
def test_features_are_of_the_base_of_the_task(kind, tokenizer):
    task, other = make_task(kind, make_base("decoder"), tokenizer), make_base("decoder", seed=1)
    x, same = task.features("train"), make_task(kind, other, tokenizer)
    y = task.with_base(other).features("train")
    assert x.shape == y.shape and not np.allclose(x, y)
    assert np.array_equal(y, same.features("train")) and task.features("train") is x


def test_another_base_has_the_chosen_pool(tokenizer):
    task = make_task(Classify, make_base("decoder"), tokenizer)
    task.pools = ["mean"]
    task.choose_pool()
    assert task.with_base(make_base("decoder", seed=1)).network.pool == "mean"


def test_a_bias_is_the_weight_of_a_feature_that_is_1(tokenizer):
    model = classifier(make_base("decoder"), 2, bias=True)
    task = make_task(Classify, model, tokenizer, classes=["bad", "good"])
    probe = task.attach(mp.Probe(), rng())
    λ, (W, b) = task.solve(probe), probe.parameters()
    ids, labels, mask, _ = task.collate(task.examples["train"])
    gradients = grad(task.network.loss(ids, labels, probe, mask=mask), [W, b])
    for g, p in zip(gradients, (W, b)):
        assert ((g + λ * p.data) ** 2).sum() <= 2 * λ * GAP * 1.001
    assert np.abs(b.data).max() > 1e-3
    assert task.predict(probe, "test") == Task.predict(task, probe, "test")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_a_probe_that_diverged_in_training_is_evaluated(value, tokenizer):
    task = make_task(Classify, make_base("decoder"), tokenizer)
    probe = task.attach(mp.Probe(), rng())
    probe.parameters()[0].data[...] = value
    assert 0 <= task.evaluate(probe, "test")["accuracy"] <= 1


def test_a_probe_that_can_not_be_solved_is_refused(tokenizer):
    task = Classify(
        "no dev", {"train": [("tea", "a"), ("soup", "b")]}, make_base("decoder"), tokenizer
    )
    with pytest.raises(ValueError, match="no dev: a probe's λ is chosen on 'dev'"):
        task.solution()
    base = make_base("decoder")
    base = base.map(lambda t: mp.Tensor(t.data * np.nan))
    task = make_task(Classify, base, tokenizer)
    with pytest.raises(NonFinite, match="the features of 60 of 60 examples are NaN or infinite"):
        task.choose_pool()
