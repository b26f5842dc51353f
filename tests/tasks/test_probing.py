"""Probes: all layers at once as each alone, from cached features as through the model."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.adaptation.cache import Cache
from minipeft.adaptation.forward import Forward
from minipeft.autograd.backend import host
from minipeft.autograd.tensor import grad
from minipeft.model.heads import Head, TokenHead
from minipeft.tasks.probing import (
    LayerHead,
    accuracy_by_layer,
    control_labels,
    every_layer,
    pool_states,
    train_hidden_probes,
    train_probes,
)
from minipeft.training.logistic import GAP
from tests.support.families import (
    CLASSIFIERS,
    DECODERS,
    SEQ2SEQ,
    TAGGERS,
    batch,
    nudged,
    one_stack,
)

MODEL, S, D, C = DECODERS["gpt2"], 3, 8, 3
TOKENS = TAGGERS | {"tags of a decoder": nudged(mp.TokenClassifier(DECODERS["rotary"], C))}
HEADED = {name: model for name, model in (CLASSIFIERS | TOKENS).items() if "device" not in name}


def rng(seed=0):
    return np.random.default_rng(seed)


def blobs(seed, N, knows=(True, True, True)):
    """Features (S, N, D) whose classes are separable in the states that know them, and labels."""
    draw = rng(seed)
    y, x = draw.integers(0, C, N), draw.normal(0, 0.1, (S, N, D))
    x[..., :C] += np.array(knows)[:, None, None] * np.eye(C)[y]
    return x, y


# -- states ---------------------------------------------------------------------------


@one_stack
def test_every_layer_is_a_loop_over_the_blocks(model):
    (ids, _, mask), blocks = batch(model, 5), model.blocks
    token_types = ids % 2 if model.config.token_types else None
    forward = Forward(Cache(keep=False), model, mask)
    h = model.positions.embed(model.tokens(ids), forward)
    h = model.types.embed(h, token_types, forward)
    h = model.ln(h) if model.config.post_norm else h
    states = [host(h.data)]
    for block in blocks:
        h = block(h, forward)
        states.append(host(h.data))
    assert np.array_equal(every_layer(model, ids, mask=mask, token_types=token_types), states)
    assert len(states) == model.config.layers + 1 and not np.array_equal(*states[-2:])


@one_stack
def test_states_of_a_text_do_not_depend_on_its_padding(model):
    ids, _, mask = batch(model, 5)
    states = every_layer(model, ids, mask=mask)
    for i, real in enumerate(mask):
        alone = every_layer(model, ids[i : i + 1, real])[:, 0]
        assert np.abs(states[:, i, real] - alone).max() <= 1e-12


def test_an_encoder_decoder_is_refused():
    model = SEQ2SEQ["t5"]
    with pytest.raises(ValueError, match="use a model of one stack"):
        every_layer(model, batch(model, 5)[0])


def test_only_real_tokens_are_pooled():
    ids, _, mask = batch(MODEL, 5)
    states = every_layer(MODEL, ids, mask=mask)
    pools = {"last": lambda h: h[:, -1], "mean": lambda h: h.mean(1), "cls": lambda h: h[:, 0]}
    for pool, pool_of_one in pools.items():
        x = pool_states(states, mask, pool)
        literal = np.stack([pool_of_one(states[:, i, real]) for i, real in enumerate(mask)], 1)
        assert x.shape == (S, 5, D) and np.abs(x - literal).max() <= 1e-14
    all_real = np.ones_like(mask)
    assert np.array_equal(pool_states(states, None), pool_states(states, all_real))
    with pytest.raises(ValueError, match="mask .* must have the shape of the texts"):
        pool_states(states, mask[:1])
    with pytest.raises(ValueError, match="row 2 of the batch has no real token"):
        pool_states(states, all_real & (np.arange(5) != 2)[:, None])


# -- training -------------------------------------------------------------------------


@pytest.mark.parametrize("model", [DECODERS["gpt2"], DECODERS["gpt2 on a device"]])
def test_the_probe_of_each_state_is_solved_alone(model):
    """The gradient of its loss plus λ/2 ‖W‖², through the head of a classifier, is 0."""
    x, y = blobs(0, 40)
    x *= [[[1]], [[1e-3]], [[30]]]  # different scales: an influence between layers would show
    probes, classifier = train_probes(LayerHead(model, C), x, y, l2=1e-2), mp.Classifier(model, C)
    head = Head(classifier.score, model.config)
    for s in range(S):
        (W,), λ = probes.user(s).parameters(), 1e-2 * (x[s] ** 2).mean()
        probe = mp.Probe().attach(classifier).map(lambda p: W)  # noqa: B023
        (g,) = grad(head.loss(x[s][:, None], y, probe), [W])
        W, g = host(W.data), host(g)
        assert np.abs(W).max() * x[s].std() > 0.05
        assert ((g + λ * W) ** 2).sum() <= 2.1 * λ * GAP


@pytest.mark.parametrize("hidden", [None, 5])
@pytest.mark.parametrize("model", HEADED.values(), ids=HEADED)
def test_training_on_features_equals_training_through_the_model(model, hidden):
    """To the same bits, with the features of the same batches."""

    def train(network, prepare):
        probe = mp.Probe(hidden=hidden).attach(model, rng())
        trainer = mp.Trainer(network, probe, mp.AdamW(probe.parameters(), 1e-2))
        batches = [prepare(*batch(model, 6, seed=seed)) for seed in range(5)]
        return trainer.fit(batches, 5, progress=False), [p.data for p in probe.parameters()]

    def features(ids, labels, mask):
        return model.features(ids, mask=mask)[0].data, labels, mask if labels.ndim == 2 else None

    kind = Head if isinstance(model, mp.Classifier) else TokenHead
    losses, ps = train(model, lambda *b: b)
    cached, ps_cached = train(kind(model.score, model.config), features)
    assert losses == cached and len(set(losses)) == 5
    assert all(map(np.array_equal, ps, ps_cached)) and len(ps) == (4 if hidden else len(ps))


def test_a_hidden_layer_separates_what_no_matrix_does():
    """Two classes as in XOR: in state 1 as they are, in state 2 behind noise."""
    head, draw = LayerHead(MODEL, 2), rng()
    corners, signs = rng(1).choice([-1, 1], (2000, 2)), np.ones((S, 1, 1))
    x, y = draw.normal(0, 0.1, (S, 2000, D)), (corners.prod(1) > 0).astype(int)
    x[1:, :, :2] += corners
    x[2] += draw.normal(0, 1, x[2].shape)
    linear = train_probes(head, x[:, :1000], y[:1000])
    hidden = train_hidden_probes(head, x[:, :1000], y[:1000], hidden=16)
    test = x[:, 1000:] * signs, y[1000:]
    assert np.abs(accuracy_by_layer(head, linear, *test) - 0.5).max() < 0.06
    chance, separable, noisy = accuracy_by_layer(head, hidden, *test)
    assert abs(chance - 0.5) < 0.06 and separable == 1 and 0.6 < noisy < 0.9


def test_the_hidden_probe_of_a_state_is_trained_as_if_alone():
    x, y = blobs(0, 90)
    train = lambda x: train_hidden_probes(LayerHead(MODEL, C), x, y, hidden=4, steps=30, size=32)
    before = [p.data for p in train(x).user(1).parameters()]
    x[[0, 2]] *= 30
    after = [p.data for p in train(x).user(1).parameters()]
    assert all(np.abs(a - b).max() < 1e-10 for a, b in zip(before, after))


# -- accuracies -----------------------------------------------------------------------


def test_separable_classes_are_found_in_the_states_that_have_them():
    head = LayerHead(MODEL, C)
    x, y = blobs(0, 300, knows=[False, True, True])
    new, labels = blobs(1, 1000, knows=[False, True, True])
    chance, *accuracies = accuracy_by_layer(head, train_probes(head, x, y), new, labels)
    assert accuracies == [1, 1] and abs(chance - 1 / C) < 0.06


def test_control_labels_of_texts_are_memorised_and_do_not_generalise():
    head = LayerHead(MODEL, C)
    x, y = rng().normal(size=(S, 2007, D)), control_labels([f"text {i}" for i in range(2007)], C)
    probes = train_probes(head, x[:, :7], y[:7])
    assert (accuracy_by_layer(head, probes, x[:, :7], y[:7]) == 1).all()
    assert np.abs(accuracy_by_layer(head, probes, x[:, 7:], y[7:]) - 1 / C).max() < 0.06


@pytest.mark.parametrize("name", [lambda i: i, lambda i: f"word {i}"])
def test_control_labels_depend_on_the_name_alone(name):
    names = np.array([name(i) for i in range(3000)])
    y = control_labels(names, C, seed=4)
    text = rng().integers(0, 3000, (5, 7))
    assert np.array_equal(control_labels(names[text], C, seed=4), y[text])
    assert np.array_equal(control_labels(names[::-1], C, seed=4), y[::-1])
    other = control_labels(names, C, seed=5)
    table = np.zeros((C, C))
    np.add.at(table, (y, other), 1)  # all nine pairs of labels of two seeds are equally frequent
    assert np.abs(table / 3000 - 1 / 9).max() < 0.02


# -- errors ---------------------------------------------------------------------------

X, Y = np.zeros((S, 5, D)), np.zeros(5, int)
ERRORS = {
    "one class": (lambda: LayerHead(MODEL, 1), "classes=1: .* at least two"),
    "a trained query": (lambda: pool_states(X, None, "attention"), "has a trained query"),
    "one control label": (lambda: control_labels(["a"], 1), "classes=1: .* at least two"),
    "labels for each layer": ((X, np.zeros((S, 5), int)), r"labels must be \(batch,\) .* 0 to 2"),
    "too few labels": ((X, Y[:4]), r"for 4 labels .* \(3, 4, 8\).* got \(3, 5, 8\)"),
    "one layer": ((X[0], Y), r"for 5 labels .* \(3, 5, 8\).* got \(5, 8\)"),
    "a layer too few": ((X[1:], Y), r"\(3, 5, 8\).* got \(2, 5, 8\)"),
    "another width": ((X[..., 1:], Y), r"\(3, 5, 8\).* got \(3, 5, 7\)"),
    "a label too large": ((X, Y + C), r"labels must be .* from 0 to 2"),
    "a negative label": ((X, Y - 100), r"labels must be .* from 0 to 2"),
    "fractions": ((X, Y + 0.5), "labels must be integers"),
}


@pytest.mark.parametrize("call, message", ERRORS.values(), ids=ERRORS)
def test_wrong_arguments_raise(call, message):
    head = LayerHead(MODEL, C)
    probes = train_probes(head, X, Y)
    functions = [call]
    if isinstance(call, tuple):
        functions = [lambda: train_probes(head, *call)]
        functions.append(lambda: accuracy_by_layer(head, probes, *call))
        functions.append(lambda: train_hidden_probes(head, *call))
    for function in functions:
        with pytest.raises(ValueError, match=message):
            function()
