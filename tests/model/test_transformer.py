"""What a network promises whoever adapts it: padding, prompts, losses, heads, and its errors."""

import math
from dataclasses import replace

import numpy as np
import pytest

from minipeft import (
    Chain,
    Classifier,
    Decoder,
    MaskedLM,
    Method,
    Tensor,
    grad,
)
from minipeft.autograd.backend import host
from minipeft.autograd.ops import exp, log
from minipeft.autograd.ops import sum as sum_over
from minipeft.model.config import LINEARS
from minipeft.model.heads import Head
from minipeft.model.positions import Rotary
from tests.support.families import (
    CLASSIFIERS,
    DECODERS,
    ENCODERS,
    METHODS,
    NETWORKS,
    SPANS,
    TAGGERS,
    C,
    T,
    V,
    apart,
    attached,
    batch,
    classifiers,
    decoders,
    distinct_networks,
    gradients,
    methods,
    networks,
    real,
    row,
    total,
)

CAUSAL = {name: model for name, model in NETWORKS.items() if model.causal}
TAGGED = ENCODERS | TAGGERS
TYPED = {"bert": ENCODERS["bert"], "cls": CLASSIFIERS["cls"], **TAGGERS}
PROMPTED = [name for name in METHODS if "prompt" in name or name == "chain"]


# -- padding and prompts ------------------------------------------------------


@distinct_networks
@methods
def test_padding_anywhere_changes_nothing(model, name):
    adaptation = attached(name, model)
    ids, labels, mask = batch(model, 5, adaptation)
    z, loss = model(ids, adaptation, mask=mask), 0
    for i in range(len(ids)):
        text, label = row(i, ids, labels, mask=mask)
        assert np.abs(real(z, i, mask=mask) - host(model(text, adaptation).data)[0]).max() <= 1e-12
        loss += float(total(model, text, label, adaptation))
    assert np.isclose(
        float(total(model, ids, labels, adaptation, mask=mask)), loss, rtol=1e-13, atol=0
    )


@distinct_networks
@methods
def test_what_padding_says_is_not_read(model, name):
    adaptation = attached(name, model)
    ids, labels, mask = batch(model, 5, adaptation)
    z, loss = model(ids, adaptation, mask=mask), total(model, ids, labels, adaptation, mask=mask)
    other = np.where(mask, ids, (ids + 1) % V)
    told = labels.shape == ids.shape  # what a padding token is, too
    labelled_positions = np.where(mask, labels, (ids + 2) % C) if told else labels
    y = model(other, adaptation, mask=mask)
    assert all(
        np.array_equal(real(y, i, mask=mask), real(z, i, mask=mask)) for i in range(len(ids))
    )
    assert np.array_equal(
        total(model, other, labelled_positions, adaptation, mask=mask).data, loss.data
    )


class Spy(Method):
    """Looks at what every layer is asked, and changes nothing."""

    targets = ""

    def __init__(self):
        self.seen = []

    def apply(self, layer, x):
        own = layer.composite if layer.composite else tuple(layer.tensors().values())
        self.seen.append((layer.path, own, x.shape))
        return layer(x)

    def times(self, path):
        return [shape[:2] for seen, _, shape in self.seen if seen == path]


@pytest.mark.parametrize("model", CAUSAL.values(), ids=CAUSAL)
@pytest.mark.parametrize("name", PROMPTED)
def test_a_prompt_read_once_is_the_prompt_in_every_row(model, name):
    adaptation = attached(name, model)
    ids, labels, mask = batch(model, 5, adaptation)
    spy = Spy()
    z = model(ids, Chain(spy.attach(model), adaptation), mask=mask, rng=np.random.default_rng(0))
    prompt, text = spy.times("blocks.0.attn.q")
    assert prompt[0] == 1 and prompt[1] > 0 and text == ids.shape
    loss, grads = 0, 0
    for i in range(len(ids)):
        text, label = row(i, ids, labels, mask=mask)
        assert np.abs(real(z, i, mask=mask) - host(model(text, adaptation).data)[0]).max() <= 1e-12
        loss += float(total(model, text, label, adaptation))
        grads = grads + np.array([*gradients(model, text, label, adaptation), None], object)[:-1]
    assert np.isclose(
        float(total(model, ids, labels, adaptation, mask=mask)), loss, rtol=1e-13, atol=0
    )
    assert apart(gradients(model, ids, labels, adaptation, mask=mask), list(grads)) <= 1e-12


@networks
def test_every_layer_is_read_through_the_adaptation(model):
    spy, (ids, _, mask) = Spy(), batch(model, 2)
    model(ids, spy.attach(model), mask=mask)
    there = {
        path: layer.composite if layer.composite else tuple(layer.tensors().values())
        for path, layer in model.modules()
        if (layer.composite or layer.tensors()) and (path, type(model)) != ("pooler", MaskedLM)
    }
    assert {path: own for path, own, _ in spy.seen} == there
    assert len(spy.seen) == len(there)


# -- the loss -----------------------------------------------------------------


def literal_loss(model, ids, labels, adaptation, mask):
    """-Σ log(exp z[target] / Σ exp z) / n over all logits, as one reads it."""
    z = model(ids, adaptation, mask=mask)
    said = np.zeros(z.shape)
    for i in range(len(ids)):
        tokens = np.flatnonzero(mask[i])
        for here, then in zip(tokens, tokens[1:]):
            if labels[i, then] != -100:
                said[i, here, labels[i, then]] = 1
    p = exp(z) / sum_over(exp(z), axis=-1, keepdims=True)
    return sum_over(log(p) * np.asarray(said, like=z.data)) * (-1 / said.sum())


@decoders
@methods
def test_the_loss_is_its_formula_over_all_logits(model, name):
    adaptation = attached(name, model)
    ids, labels, mask = batch(model, 5, adaptation)
    frugal, literal = (
        lambda: model.loss(ids, labels, adaptation, mask=mask),
        lambda: literal_loss(model, ids, labels, adaptation, mask=mask),
    )
    assert np.isclose(float(frugal()), float(literal()), rtol=1e-13, atol=0)
    if ps := adaptation.parameters():
        assert apart(grad(frugal(), ps), grad(literal(), ps)) <= 1e-12


@decoders
@methods
def test_rows_asked_for_are_columns_of_the_whole(model, name):
    adaptation = attached(name, model)
    ids, _, mask = batch(model, 5, adaptation)
    positions = np.random.default_rng(0).integers(0, T, (5, 3))
    z = model(ids, adaptation, mask=mask).data[np.arange(5)[:, None], positions]
    y = model(ids, adaptation, mask=mask, positions=positions).data
    own = mask[np.arange(5)[:, None], positions]
    assert y.shape == z.shape and np.abs(y - z)[own].max() <= 1e-12


@distinct_networks
@methods
def test_shards_add_up_to_the_batch(model, name):
    adaptation = attached(name, model)
    ids, labels, mask = batch(model, 7, adaptation)
    if labels.ndim == 2:
        labels[3:5] = -100  # a shard of which nothing is asked
    count = (model.targets(labels, mask) >= 0).sum()
    cuts = [slice(0, 3), slice(3, 5), slice(5, 7)]
    parts = [model.loss(ids[r], labels[r], adaptation, mask=mask[r], count=count) for r in cuts]
    whole = model.loss(ids, labels, adaptation, mask=mask)
    assert np.isclose(sum(map(float, parts)), float(whole), rtol=1e-13, atol=0)
    if ps := adaptation.parameters():
        sums = [sum(gs) for gs in zip(*[grad(part, ps) for part in parts])]
        assert apart(sums, grad(whole, ps)) <= 1e-12


# -- an encoder ---------------------------------------------------------------


def test_an_encoder_is_its_equations():
    """Norms behind each part, and what stands before the words: Devlin et al. 2019, §3"""
    bert, rng = ENCODERS["bert"], np.random.default_rng(0)
    ids, token_types = rng.integers(0, V, T), rng.integers(0, 2, T)
    θ = {name: t.data for name, t in bert.named_parameters()}
    σ = np.vectorize(lambda t: t / 2 * (1 + math.erf(t / 2**0.5)))
    linear = lambda x, at: x @ θ[f"{at}.W"] + θ[f"{at}.b"]

    def ln(x, at):
        n = x - x.mean(-1, keepdims=True)
        return θ[f"{at}.g"] * n / np.sqrt((n * n).mean(-1, keepdims=True) + 1e-12) + θ[f"{at}.b"]

    def head(q, k, v):
        w = np.exp(q @ k.T / 4**0.5)
        return w / w.sum(-1, keepdims=True) @ v

    h = ln(θ["tokens.W"][ids] + θ["positions.W"][:T] + θ["types.W"][token_types], "ln")
    for block in ("blocks.0", "blocks.1"):
        q, k, v = (np.hsplit(linear(h, f"{block}.attn.{part}"), 2) for part in "qkv")
        h = ln(h + linear(np.hstack([*map(head, q, k, v)]), f"{block}.attn.o"), f"{block}.ln1")
        h = ln(h + linear(σ(linear(h, f"{block}.mlp.up")), f"{block}.mlp.down"), f"{block}.ln2")
    z = ln(σ(linear(h, "transform.dense")), "transform.ln") @ θ["tokens.W"].T + θ["head.b"]
    assert np.allclose(bert(ids[None], token_types=token_types[None]).data[0], z, rtol=1e-11)


# -- heads --------------------------------------------------------------------


@classifiers
def test_a_probe_trains_on_features_computed_once(model):
    probe, (ids, labels, mask) = attached("plain", model), batch(model, 5)
    features = model.features(ids, probe, mask=mask)[0]
    assert features.node is None
    head = Head(model.score, model.config)
    for _ in range(3):
        whole = grad(model.loss(ids, labels, probe, mask=mask), probe.parameters())
        alone = grad(head.loss(features.data, labels, probe), probe.parameters())
        assert all(map(np.array_equal, whole, alone))
        for p, g in zip(probe.parameters(), alone):
            p.data = p.data - 0.1 * g
    assert np.array_equal(model(ids, probe, mask=mask).data, head(features.data, probe).data)


@decoders
def test_a_pool_is_of_real_tokens(model):
    ids, _, mask = batch(model, 5)
    for pool, of in (("last", lambda h: h[-1]), ("mean", lambda h: h.mean(0))):
        pooled = Classifier(model, 3, pool=pool).features(ids, mask=mask)[0]
        for i in range(len(ids)):
            h = model.states(ids[i : i + 1, mask[i]])[0].data[0]
            assert np.abs(pooled.data[i, 0] - of(h)).max() <= 1e-12


def test_the_pool_of_an_encoder_is_what_its_pooler_makes_of_the_first_real_token():
    bert, (ids, _, mask) = ENCODERS["bert"], batch(ENCODERS["bert"], 5)
    pooled = Classifier(bert, 3, pool="cls").features(ids, mask=mask)[0]
    W, b = bert.pooler.W.data, bert.pooler.b.data
    for i in range(len(ids)):
        h = bert.states(ids[i : i + 1, mask[i]])[0].data[0, 0]
        assert np.abs(pooled.data[i, 0] - np.tanh(h @ W + b)).max() <= 1e-12


@pytest.mark.parametrize("model", TYPED.values(), ids=TYPED)
@methods
def test_types_stay_with_their_tokens(model, name):
    """Wherever padding and prompts are; and they say something."""
    adaptation, rng = attached(name, model), np.random.default_rng(0)
    ids, labels, mask = batch(model, 5, adaptation)
    token_types, loss = rng.integers(0, 2, ids.shape), 0
    z = model(ids, adaptation, mask=mask, token_types=token_types)
    assert np.abs(z.data - model(ids, adaptation, mask=mask).data).max() > 1e-3
    for i in range(len(ids)):
        (text, label), own = row(i, ids, labels, mask=mask), token_types[i : i + 1, mask[i]]
        assert (
            np.abs(real(z, i, mask=mask) - model(text, adaptation, token_types=own).data[0]).max()
            <= 1e-12
        )
        loss += float(model.loss(text, label, adaptation, token_types=own, count=1))
    whole = model.loss(ids, labels, adaptation, mask=mask, token_types=token_types, count=1)
    assert np.isclose(float(whole), loss, rtol=1e-13, atol=0)
    assert not np.isclose(float(total(model, ids, labels, adaptation, mask=mask)), loss, rtol=1e-6)


@pytest.mark.parametrize("model", TAGGED.values(), ids=TAGGED)
def test_a_label_is_of_its_own_token(model):
    """-Σ log(exp z[t, label] / Σ exp z[t]) / n, and nothing is shifted."""
    ids, labels, mask = batch(model, 5)
    z, terms = host(model(ids, mask=mask).data), []
    for at in zip(*np.nonzero(mask & (labels >= 0))):
        terms.append(np.log(np.exp(z[at]).sum()) - z[at][labels[at]])
    assert np.isclose(float(model.loss(ids, labels, mask=mask)), np.mean(terms), rtol=1e-13)


# -- Llama's parts ------------------------------------------------------------


def test_a_gated_mlp_is_its_equation():
    """W_down (σ(W_gate x) ⊙ W_up x),  σ(z) = z / (1 + e^-z)"""
    mlp, x = DECODERS["llama"].blocks[1].mlp, np.random.default_rng(0).normal(size=8)
    gate, up = (x @ layer.W.data for layer in (mlp.gate, mlp.up))
    y = mlp(Tensor(x[None, None]), lambda layer, x: layer(x)).data[0, 0]
    assert np.allclose(y, (gate / (1 + np.exp(-gate)) * up) @ mlp.down.W.data, rtol=1e-13)


def test_a_token_sees_as_far_as_the_window():
    """In each of two layers so many tokens, itself among them, wherever padding lies."""
    model, ids = DECODERS["llama"], np.random.default_rng(0).integers(1, V, (1, 16))
    z, reach = model(ids).data[0], 2 * (model.config.window - 1)
    other = np.where(np.arange(16) == 3, 0, ids)
    changed = np.flatnonzero(np.abs(model(other).data[0] - z).max(-1) > 1e-9)
    assert changed.tolist() == [*range(3, 3 + reach + 1)]
    for S in range(5, 9):  # shorter than the window or longer, it is the same
        assert np.abs(model(ids[:, :S]).data[0] - z[:S]).max() < 1e-12
    padded = np.insert(ids, [2, 5, 5, 9], 0, axis=1)
    mask = np.insert(np.ones_like(ids), [2, 5, 5, 9], 0, axis=1)
    assert np.abs(model(padded, mask=mask).data[mask > 0] - z).max() < 1e-12


@pytest.mark.parametrize("length", [16, 64])
def test_stretched_positions_are_of_three_kinds(length):
    """Of short waves as they are, of long ones divided, and of those between, in a line."""
    low, high, factor, θ, d = 1.0, 4.0, 8.0, 100.0, 16
    own = Rotary(d, θ, (factor, low, high, length)).ω
    for i, ω in enumerate(own):
        plain = θ ** (-2 * i / d)
        waves = length * plain / (2 * np.pi)
        s = (waves - low) / (high - low)
        times = 1 if waves > high else 1 / factor if waves < low else (1 - s) / factor + s
        assert ω == pytest.approx(plain * times, rel=1e-12)
    kinds = length * Rotary(d, θ).ω / (2 * np.pi)
    assert (kinds > high).any() or (kinds < low).any()


def test_only_what_is_named_has_a_bias():
    for biased in ((), LINEARS, *((name,) for name in LINEARS)):
        model = Decoder(replace(DECODERS["llama"].config, biases=biased), np.random.default_rng(0))
        own = {path.split(".")[-1] for path, layer in model.modules() if "b" in layer.tensors()}
        assert own == {*biased}


# -- spans --------------------------------------------------------------------


def test_a_spans_loss_is_of_its_start_and_end():
    model = SPANS["spans"]
    ids, labels, mask = batch(model, 5)
    labels[2] = -100
    z, loss = model(ids, mask=mask).data, model.loss(ids, labels, mask=mask).data
    said = [
        -np.log(np.exp(z[i, at, k]) / np.exp(z[i, mask[i], k]).sum())
        for i, row in enumerate(labels)
        for k, at in enumerate(row)
        if at >= 0
    ]
    assert len(said) == 8 and abs(loss - np.mean(said)) < 1e-12
