"""The cases: batches, and the matrix products of a training step."""

import math

from benchmarks import start
from benchmarks.cases import CLASSES, LABELS, METHODS, SIZES, batch, exists
from benchmarks.libraries.products import products


def test_every_method_has_a_start():
    assert [*start.METHODS] == [*METHODS]


def test_cases_that_do_not_exist():
    sizes = [size for size in SIZES if size != "llama-135m"]
    assert not any(exists("llama-135m", method) for method in METHODS)
    cases = [(s, m, l) for s in sizes for m in METHODS for l in LABELS]
    assert {c for c in cases if not exists(*c)} == {
        *((size, "probe", "answer") for size in sizes),
        *(("llama", "bitfit", labels) for labels in LABELS),
    }


def test_batches():
    for size, s in SIZES.items():
        ids, labels = batch(size, "lora", "everywhere")
        assert ids.shape == (s.batch, s.tokens) and 0 <= ids.min() and ids.max() < s.vocabulary
        assert (labels[:, 0] == -100).all() and (labels[:, 1:] == ids[:, 1:]).all()
        _, answer = batch(size, "lora", "answer")
        assert (answer >= 0).sum() == ids.size // 4 and (answer[:, -1] == ids[:, -1]).all()
        _, classes = batch(size, "probe", "everywhere")
        assert classes.shape == (s.batch,) and set(classes) <= {*range(CLASSES)}


def flops(method, labels="everywhere", P=0):
    """Return the multiplications of tiny's step: forwards, and of dX and dW."""
    found = [*products("tiny", method, labels, SIZES["tiny"].batch, P)]
    count = lambda p: math.prod(p.X) * p.W[-1]
    forward = sum(map(count, found))
    return forward, sum(count(p) for p in found if p.dX), sum(count(p) for p in found if p.dW)


def test_products_of_full_fine_tuning():
    s = SIZES["tiny"]
    N, R, D, V = s.batch * s.tokens, s.batch * (s.tokens - 1), s.width, s.vocabulary
    attention = 2 * N * s.tokens * D
    blocks = s.layers * (3 * N * D * D + attention) + (3 * N + R) * 9 * D * D
    forward, dX, dW = flops("full")
    assert forward == dX == blocks + R * D * V
    assert dW == forward  # keys and values have a gradient, too


def test_frozen_weights_have_no_gradient():
    weights = lambda method: sum(p.dW for p in products("tiny", method, "everywhere", 32, 0))
    keys_and_values = 2 * SIZES["tiny"].layers
    assert weights("bitfit") == weights("ia3") == keys_and_values
    assert weights("lora") == 2 * keys_and_values  # A and B, too
    assert weights("probe") == 1


def test_fewer_labels_and_nothing_below_the_first_trained_layer_are_less_work():
    assert flops("lora", "answer")[0] < flops("lora")[0]
    assert flops("full")[1] == flops("bitfit")[1] > flops("ia3")[1] > flops("probe")[1] == 0
    assert flops("prompt", P=20)[0] > flops("prompt")[0] > flops("bitfit")[0]
