"""Multitask prompts, nearest words, biases and dropout."""

import dataclasses

import numpy as np
import pytest

from minipeft import (
    PLAIN,
    BitFit,
    Chain,
    Each,
    MultitaskPrompt,
    PromptTuning,
    PTuningV2,
    RandomWeights,
    merge,
    nearest,
)
from minipeft.autograd.backend import host
from minipeft.autograd.nn import replace
from minipeft.methods import BiasTuning, biases
from minipeft.methods.multitask import average_task, shared_prompt, task
from tests.support.families import (
    DECODERS,
    METHODS,
    V,
    attached,
    batch,
    decoders,
    gradients,
    networks,
    one_stack,
)

ENCODED = "encoded", "p-tuning,", "p-tuning by"
LORAS = [name for name in METHODS if name.startswith("lora") and "embeddings" not in name]
IDENTITIES = [*LORAS, "ia3", "bitfit", "random weights", "full", "norms"]
MERGES = ["plain", "dora", *IDENTITIES]


def rng():
    return np.random.default_rng(0)


def some_words(n):
    return tuple(int(w) for w in rng().integers(0, V, n))


@decoders
def test_a_multitask_prompt_is_a_bank_that_shares_its_rows(model):
    """P ⊙ (c_t r_t) for task t; the gradient of P is that of all tasks."""
    bank = MultitaskPrompt(3, tasks=4, rank=2).attach(model, rng())
    P, c, r = bank.parameters()
    assert P.ndim == 2 and c.shape[0] == r.shape[0] == 4
    for p in (P, c, r):
        p.data = p.data + np.asarray(rng().normal(size=p.shape), like=p.data)
    ids, labels, mask = batch(model, 5)
    which = np.array([2, 0, 2, 3, 0])
    z, together = model(ids, bank.of(which), mask=mask), 0
    for i, t in enumerate(which):
        own = task(bank, t)
        assert np.allclose(
            host(own.method.prepend(None, **own.at["tokens"])[0].data),
            host(P.data) * (host(c.data)[t] @ host(r.data)[t]),
        )
        alone = model(ids[i : i + 1], own, mask=mask[i : i + 1])
        assert np.abs(host(z.data)[i, mask[i]] - host(alone.data)[0, mask[i]]).max() <= 1e-12
        (g, *_) = gradients(model, ids[i : i + 1], labels[i : i + 1], own, mask[i : i + 1])
        together = together + g
    all_tasks = gradients(model, ids, labels, bank.of(which), mask=mask, of=bank)
    assert np.abs(all_tasks[0] - together).max() <= 1e-11 * np.abs(together).max()
    assert all((g[1] == 0).all() and (g[2] != 0).any() for g in all_tasks[1:])
    for wrong in (4, -1):
        with pytest.raises(ValueError, match=f"no task {wrong}"):
            task(bank, wrong)
    assert task(bank, 3).method.tasks == 1


@decoders
def test_a_multitask_prompt_starts_as_its_words(model):
    prompt, many = PromptTuning(4), MultitaskPrompt(4, tasks=2, rank=3)
    (P,) = prompt.attach(model, rng()).parameters()
    own = task(many.attach(model, rng()), 1)
    assert np.array_equal(host(own.method.prepend(None, **own.at["tokens"])[0].data), host(P.data))


@decoders
def test_other_tasks_start_from_the_prompt_of_several(model):
    bank = MultitaskPrompt(4, tasks=3, rank=2).attach(model, rng())
    P, c, r = (host(p.data) for p in bank.parameters())
    average, shared = average_task(bank), shared_prompt(bank, 2, rng())
    for p, x in zip(average.parameters(), (P, c.mean(0), r.mean(0)), strict=True):
        assert np.allclose(host(p.data), x)
    assert average.method.tasks == 1 and shared.method.tasks == 2
    own = task(shared, 1)
    assert np.array_equal(host(own.method.prepend(None, **own.at["tokens"])[0].data), P)
    assert shared.parameters()[1].shape == (2, 4, 2)


# -- words and places --------------------------------------------------------------


def test_the_nearest_words_of_words_are_themselves():
    model = DECODERS["gpt2"]
    prompt = PromptTuning(3, init="text", words=(4, 9, 2)).attach(model, rng())
    ids, cosines = nearest(prompt.at["tokens"]["P"], model.tokens.W, n=2)
    assert ids[:, 0].tolist() == [4, 9, 2] and np.allclose(cosines[:, 0], 1, rtol=1e-14)
    W = model.tokens.W.data
    for i, row in zip(ids, W[[4, 9, 2]]):
        cosine = [row @ w / np.linalg.norm(row) / np.linalg.norm(w) for w in W]
        assert i.tolist() == sorted(range(V), key=lambda j: -cosine[j])[:2]
    for P, n in ((W, 0), (W, V + 1), (W[0], 1), (W[:, :2], 1)):
        with pytest.raises(ValueError, match="nearest needs P"):
            nearest(P, W, n)


@one_stack
def test_random_weights_are_as_many_as_biases(model):
    """In the same layers, none twice, and the same ones at another time."""
    control = RandomWeights().attach(model, rng())
    biases = BitFit(control.method.targets).attach(model, rng())
    assert [p.shape for p in control.parameters()] == [p.shape for p in biases.parameters()]
    layer = model.blocks[1].attn.q
    at = control.method.entries(layer, layer.shape)
    assert len({tuple(place) for place in at}) == layer.shape[1]
    assert np.array_equal(at, control.method.entries(layer, layer.shape))
    assert not np.array_equal(at, RandomWeights(choice=2).entries(layer, layer.shape))
    δ, W = control.at[layer.path]["delta"], host(layer.W.data).copy()
    δ.data = δ.data + np.asarray(rng().normal(size=δ.shape), like=δ.data)
    for (i, j), number in zip(at, host(δ.data)[0]):
        W[i, j] += number
    assert np.array_equal(host(control.method.weights(layer, δ)["W"].data), W)


@pytest.mark.parametrize("model", [DECODERS["gpt2"]])
def test_biases_that_are_kept_are_those_and_what_was_added(model):
    """W x + b', where BitFit has W x + b + δ."""
    ids, _, mask = batch(model, 5)
    kept, added = BiasTuning().attach(model, rng()), BitFit().attach(model, rng())
    assert np.allclose(model(ids, kept, mask=mask).data, model(ids, mask=mask).data, rtol=1e-13)
    for b, δ in zip(kept.parameters(), added.parameters(), strict=True):
        δ.data = rng().normal(size=δ.shape)
        b.data = b.data + δ.data
    z = model(ids, added, mask=mask).data
    assert np.allclose(model(ids, kept, mask=mask).data, z, rtol=1e-12)
    assert np.allclose(merge(model, kept)(ids, mask=mask).data, z, rtol=1e-12)


def test_subsets_of_biases_have_the_names_of_the_paper():
    model = DECODERS["gpt2"]
    paths = [*BitFit(biases("query", "intermediate")).attach(model, rng()).at]
    assert paths == [f"blocks.{n}.{part}" for n in (0, 1) for part in ("attn.q", "mlp.up")]
    with pytest.raises(ValueError, match="name some of query, key, value"):
        biases("query", "keys")


# -- dropout ------------------------------------------------------------------


@networks
def test_dropout_happens_when_there_is_a_generator(model):
    ids, _, mask = batch(model, 5)
    lora = attached("lora", model)
    plain = lora.parts[0] if isinstance(lora, Chain) else lora
    dropping = replace(plain, method=dataclasses.replace(plain.method, dropout=0.5))
    pairs = [(γ, Chain(PLAIN, γ), Each([γ] * 5)) for γ in (dropping, plain)]
    for wet, dry in zip(*pairs):
        say = lambda γ, seed=None: (
            model(ids, γ, mask=mask, rng=None if seed is None else np.random.default_rng(seed)).data
        )
        assert np.array_equal(say(wet), say(dry)) and np.array_equal(say(dry, 0), say(dry))
        assert np.array_equal(say(wet, 0), say(wet, 0))
        assert not np.array_equal(say(wet, 0), say(wet, 1))
        assert not np.array_equal(say(wet, 0), say(wet))


@networks
def test_a_prefix_is_dropped_for_each_text_by_itself(model):
    v2 = PTuningV2(40, init="normal", dropout=0.25).attach(model, rng())
    attn = model.blocks[0].attn
    plain, dropped = v2.prepended(attn, 3)[0], v2.resolve(rng()).prepended(attn, 3)[0]
    for P, Q in zip(plain, dropped):
        kept = host(Q.data) != 0
        assert np.allclose(host(Q.data)[kept], host(P.data)[kept] / 0.75)
        assert 0.15 < 1 - kept.mean() < 0.35 and not np.array_equal(kept[0], kept[1])
