"""Layers and networks: what is found in them, what is shared, and what can't be written to."""

import numpy as np
import pytest

from minipeft.autograd.nn import Embedding, LayerNorm, Linear, Module, RMSNorm, TiedHead, replace
from minipeft.autograd.tensor import Tensor

IDS = np.array([[0, 3, 1]])


class Net(Module):
    """z = x Wᵀ of x = ln(W[ids] + Σ block): a tied head, a list of layers, and one layer twice."""

    def __init__(self, rng):
        self.tokens = Embedding(5, 4, rng)
        self.blocks = [Linear(4, 4, rng), Linear(4, 4, rng, bias=False)]
        self.again = self.blocks[0]
        self.ln = LayerNorm(4, eps=1e-5)
        self.head = TiedHead(self.tokens)
        self.width, self.note = 4, ["not", "a", "layer"]
        self.freeze()

    def __call__(self, ids):
        x = self.tokens(ids)
        for block in [*self.blocks, self.again]:
            x = x + block(x)
        return self.head(self.ln(x))


@pytest.fixture
def net():
    return Net(np.random.default_rng(0))


PATHS = ["", "tokens", "blocks.0", "blocks.1", "ln", "head"]
NAMES = ["tokens.W", "blocks.0.W", "blocks.0.b", "blocks.1.W", "ln.g", "ln.b", "head.W"]


def test_modules_come_once_in_order_of_definition(net):
    assert [path for path, _ in net.modules()] == PATHS
    assert [module for _, module in net.modules()][1:4] == [net.tokens, *net.blocks]


def test_every_layer_knows_its_path(net):
    assert [module.path for _, module in net.modules()] == PATHS
    assert net.again.path == "blocks.0"


def test_parameters_have_names_and_a_tied_one_comes_once(net):
    named = dict(net.named_parameters())
    assert list(named) == NAMES
    assert named["head.W"] is named["tokens.W"]
    assert list(map(id, net.parameters())) == list(map(id, list(named.values())[:-1]))


def test_a_layers_own_tensors(net):
    assert list(net.blocks[0].tensors()) == ["W", "b"]
    assert list(net.blocks[1].tensors()) == ["W"]
    assert net.tensors() == {}


def test_nothing_of_a_network_can_be_written_to(net):
    for t in [*net.parameters(), *net.astype(np.float64).parameters()]:
        assert not t.requires_grad
        with pytest.raises(ValueError, match="read-only"):
            t.data += 1


def test_map_keeps_what_is_shared(net):
    other = net.map(lambda t: Tensor(2 * t.data))
    assert list(dict(other.named_parameters())) == NAMES
    assert other.head.W is other.tokens.W and other.again is other.blocks[0]
    for t, twice in zip(net.parameters(), other.parameters(), strict=True):
        assert t is not twice and np.array_equal(2 * t.data, twice.data)
    assert [module.path for _, module in other.modules()] == PATHS


def test_map_leaves_the_network_as_it_was(net):
    before = {name: (t, t.data.copy()) for name, t in net.named_parameters()}
    net.map(lambda t: Tensor(0 * t.data))
    for name, t in net.named_parameters():
        assert t is before[name][0] and np.array_equal(t.data, before[name][1])


def test_map_sees_every_tensor_once(net):
    seen = []
    net.map(lambda t: seen.append(t) or t)
    assert list(map(id, seen)) == list(map(id, net.parameters()))


def test_astype_changes_every_tensor_and_what_is_computed(net):
    double = net.astype(np.float64)
    assert net.dtype == net(IDS).dtype == np.float32
    assert {t.dtype for t in double.parameters()} == {double(IDS).dtype} == {np.dtype(np.float64)}
    np.testing.assert_allclose(net(IDS).data, double(IDS).data, rtol=1e-4, atol=1e-6)


def test_replace_shares_the_rest(net):
    layer, W = net.blocks[0], Tensor(np.ones((4, 4), np.float32))
    other = layer.replace(W=W)
    assert other.W is W and other.b is layer.b and other.path == layer.path
    assert layer.W is not W and net.blocks[0] is layer


def test_but_is_a_copy_with_a_difference(net):
    wide = replace(net, width=8)
    assert (wide.width, net.width) == (8, 4)
    assert wide.blocks is net.blocks and wide.tokens is net.tokens


def test_each_layer_is_its_formula():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    linear, bare, embedding = (
        Linear(4, 5, rng),
        Linear(4, 5, rng, bias=False),
        Embedding(6, 4, rng),
    )
    norm, rms = LayerNorm(4, eps=0.1), RMSNorm(4, eps=0.1)
    for layer in linear, norm:
        layer.b = Tensor(rng.standard_normal(layer.b.shape).astype(np.float32))
    for layer in norm, rms:
        layer.g = Tensor(rng.standard_normal(4).astype(np.float32))
    ids = rng.integers(6, size=(2, 3))
    centred = x - x.mean(-1, keepdims=True)
    over = lambda x: x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1)
    for layer, input, y in [
        (linear, x, x @ linear.W.data + linear.b.data),
        (bare, x, x @ bare.W.data),
        (norm, x, over(centred) * norm.g.data + norm.b.data),
        (rms, x, over(x) * rms.g.data),
        (embedding, ids, embedding.W.data[ids]),
        (TiedHead(embedding), x, x @ embedding.W.data.T),
    ]:
        input = Tensor(input) if input is x else input
        np.testing.assert_allclose(layer(input).data, y, rtol=1e-5, atol=1e-6, strict=True)
