"""Probes: of every layer at once as of each alone, of what is cached as of what is read."""

from itertools import islice

import numpy as np
import pytest
from minipeft.data.files.batches import shuffled
from minipeft.tasks.base.probing import (
    LayerHead,
    accuracy_by_layer,
    control_labels,
    every_layer,
    pool_states,
    train_probes,
)

import minipeft as mp
from minipeft.adaptation.cache import Cache
from minipeft.adaptation.forward import Forward
from minipeft.autograd.backend import host
from minipeft.model.heads import Head
from tests.support.families import CLASSIFIERS, DECODERS, TAGGERS, batch, networks, nudged

MODEL, S, D, C = DECODERS["gpt2"], 3, 8, 3
TOKENS = TAGGERS | {"tags of a decoder": nudged(mp.TokenClassifier(DECODERS["rotary"], C))}
HEADED = {name: model for name, model in (CLASSIFIERS | TOKENS).items() if "device" not in name}


def rng(seed=0):
    return np.random.default_rng(seed)


def blobs(seed, N, knows=(True, True, True)):
    """Features (S, N, D) of classes that lie apart in the states that know them, and labels."""
    draw = rng(seed)
    y, x = draw.integers(0, C, N), draw.normal(0, 0.1, (S, N, D))
    x[..., :C] += np.array(knows)[:, None, None] * np.eye(C)[y]
    return x, y


# -- states ---------------------------------------------------------------------------


@networks
def test_every_layer_is_a_loop_over_the_blocks(model):
    (ids, _, mask), blocks = batch(model, 5), model.blocks
    token_types = ids % 2 if model.config.token_types else None
    read = Forward(Cache(keep=False), model.config, blocks[-1])
    h = read.lead(model.tokens, model.tokens(ids), mask, blocks[0].attn)
    h = model.types.place(model.positions.place(h, read), token_types, read)
    h = model.ln(h) if model.config.post_norm else h
    states = [host(h.data)]
    for block in blocks:
        h = block(h, read)
        states.append(host(h.data))
    assert np.array_equal(every_layer(model, ids, mask=mask, token_types=token_types), states)
    assert len(states) == model.config.layers + 1 and not np.array_equal(*states[-2:])


@networks
def test_states_of_a_text_do_not_depend_on_its_padding(model):
    ids, _, mask = batch(model, 5)
    states = every_layer(model, ids, mask=mask)
    for i, real in enumerate(mask):
        alone = every_layer(model, ids[i : i + 1, real])[:, 0]
        assert np.abs(states[:, i, real] - alone).max() <= 1e-12


def test_a_text_is_pooled_from_its_real_tokens():
    ids, _, mask = batch(MODEL, 5)
    states = every_layer(MODEL, ids, mask=mask)
    of = {"last": lambda h: h[:, -1], "mean": lambda h: h.mean(1), "cls": lambda h: h[:, 0]}
    for pool, one in of.items():
        x = pool_states(states, mask, pool)
        literal = np.stack([one(states[:, i, real]) for i, real in enumerate(mask)], 1)
        assert x.shape == (S, 5, D) and np.abs(x - literal).max() <= 1e-14
    whole = np.ones_like(mask)
    assert np.array_equal(pool_states(states, None), pool_states(states, whole))
    with pytest.raises(ValueError, match="mask .* must have the shape of the texts"):
        pool_states(states, mask[:1])
    with pytest.raises(ValueError, match="row 2 of the batch has no real token"):
        pool_states(states, whole & (np.arange(5) != 2)[:, None])


# -- training -------------------------------------------------------------------------


def alone(model, x, y, parts, W, rates):
    """The probe that training one layer's features (N, D) gives, after a step of each part."""
    classifier = mp.Classifier(model, C)
    head, probe = Head(classifier.score, model.config), mp.Probe().attach(classifier)
    probe.parameters()[0].data[...] = np.asarray(W, like=model.reference_array)
    trainer = mp.Trainer(head, probe, mp.AdamW(probe.parameters(), 1e-2), rates, clip=np.inf)
    for part in parts:
        trainer.step(x[part][:, None], y[part])
    return host(probe.parameters()[0].data)


@pytest.mark.parametrize("model", [DECODERS["gpt2"], DECODERS["gpt2 on a device"]])
def test_probes_of_all_layers_at_once_are_each_trained_alone(model):
    x, y = blobs(0, 40)
    x *= [[[1]], [[1e-3]], [[30]]]  # so that no layer could borrow another's scale
    (W,) = train_probes(LayerHead(model, C), x, y, steps=20, size=8, seed=3).parameters()
    parts = list(islice(shuffled(range(40), 8, rng(3)), 20))
    rates = mp.schedule("linear", 20)
    for s in range(S):
        own = alone(model, x[s], y, parts, np.zeros((D, C)), rates)
        assert np.abs(own).max() > 0.05 and np.abs(host(W.data)[s] - own).max() <= 1e-12


@pytest.mark.parametrize("slices", [1, 2, S])
def test_layers_that_are_cut_into_slices_are_trained_the_same(slices):
    (x, y), head, start = blobs(0, 40), LayerHead(MODEL, C), rng().normal(size=(S, D, C))
    bank = mp.stack([mp.Probe().attach(head)] * S).map(lambda p: mp.Tensor(start.copy(), True))
    optimizer = mp.AdamW(bank.parameters(), 1e-2)
    trainer = mp.Trainer(head, bank, optimizer, clip=np.inf, slices=slices)
    parts = list(islice(shuffled(range(40), 8, rng()), 10))
    for part in parts:
        trainer.step(x[:, part], np.tile(y[part], (S, 1)))
    for s in range(S):
        own = alone(MODEL, x[s], y, parts, start[s], None)
        assert np.abs(bank.parameters()[0].data[s] - own).max() <= 1e-12


@pytest.mark.parametrize("model", HEADED.values(), ids=HEADED)
def test_training_on_features_is_training_through_the_model(model):
    """To the same bits, with the features of the same batches."""

    def trained(network, read):
        probe = mp.Probe().attach(model)
        trainer = mp.Trainer(network, probe, mp.AdamW(probe.parameters(), 1e-2))
        losses = [trainer.step(*read(*batch(model, 6, seed=seed))) for seed in range(5)]
        return losses, probe.parameters()[0].data

    def features(ids, labels, mask):
        return model.features(ids, mask=mask)[0].data, labels, mask if labels.ndim == 2 else None

    losses, W = trained(model, lambda *b: b)
    cached, W_cached = trained(model.features_head(model.score, model.config), features)
    assert losses == cached and len(set(losses)) == 5 and np.array_equal(W, W_cached)


# -- what is found --------------------------------------------------------------------


def test_what_lies_apart_is_found_where_it_lies():
    head = LayerHead(MODEL, C)
    x, y = blobs(0, 300, knows=[False, True, True])
    new, wanted = blobs(1, 1000, knows=[False, True, True])
    blind, *found = accuracy_by_layer(head, train_probes(head, x, y), new, wanted)
    assert found == [1, 1] and abs(blind - 1 / C) < 0.06


def test_control_labels_of_texts_are_learned_by_heart_or_not_at_all():
    head = LayerHead(MODEL, C)
    x, y = rng().normal(size=(S, 2007, D)), control_labels([f"text {i}" for i in range(2007)], C)
    probes = train_probes(head, x[:, :7], y[:7], size=7, rate=3e-2)
    assert (accuracy_by_layer(head, probes, x[:, :7], y[:7]) == 1).all()
    assert np.abs(accuracy_by_layer(head, probes, x[:, 7:], y[7:]) - 1 / C).max() < 0.06


@pytest.mark.parametrize("of", [lambda i: i, lambda i: f"word {i}"])
def test_control_labels_are_of_the_name_alone(of):
    names = np.array([of(i) for i in range(3000)])
    y = control_labels(names, C, seed=4)
    text = rng().integers(0, 3000, (5, 7))
    assert np.array_equal(control_labels(names[text], C, seed=4), y[text])
    assert np.array_equal(control_labels(names[::-1], C, seed=4), y[::-1])
    other = control_labels(names, C, seed=5)
    table = np.zeros((C, C))
    np.add.at(table, (y, other), 1)  # of one seed and of the other: all nine pairs as often
    assert np.abs(table / 3000 - 1 / 9).max() < 0.02


# -- errors ---------------------------------------------------------------------------

X, Y = np.zeros((S, 5, D)), np.zeros(5, int)
SLIPS = {
    "a class too few": (lambda: LayerHead(MODEL, 1), "classes=1: .* two or more"),
    "a coin of one side": (lambda: control_labels(["a"], 1), "classes=1: .* two or more"),
    "labels of each layer": ((X, np.zeros((S, 5), int)), r"labels must be \(batch,\) .* 0 to 2"),
    "too few labels": ((X, Y[:4]), r"4 labels are of features \(3, 4, 8\); these are \(3, 5, 8\)"),
    "one layer": ((X[0], Y), r"5 labels are of features \(3, 5, 8\); these are \(5, 8\)"),
    "a layer too few": ((X[1:], Y), r"\(3, 5, 8\); these are \(2, 5, 8\)"),
    "another width": ((X[..., 1:], Y), r"\(3, 5, 8\); these are \(3, 5, 7\)"),
    "a label too large": ((X, Y + C), r"labels must be .* from 0 to 2"),
    "no label": ((X, Y - 100), r"labels must be .* from 0 to 2"),
    "halves": ((X, Y + 0.5), "labels are whole numbers"),
}


@pytest.mark.parametrize("call, message", SLIPS.values(), ids=SLIPS)
def test_a_slip_is_named(call, message):
    head = LayerHead(MODEL, C)
    probes = train_probes(head, X, Y, steps=1)
    calls = [call]
    if isinstance(call, tuple):
        calls = [lambda: train_probes(head, *call), lambda: accuracy_by_layer(head, probes, *call)]
    for slip in calls:
        with pytest.raises(ValueError, match=message):
            slip()
