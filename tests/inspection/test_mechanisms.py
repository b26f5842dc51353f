"""The tables of each method's own numbers, from its parameters as a reader would compute them."""

from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.backend import host
from minipeft.autograd.functional import gelu, relu
from minipeft.inspection.measures import IDS, MEASURES, method_id, verified, where
from minipeft.inspection.mechanisms import probes
from minipeft.inspection.reader import Reader
from minipeft.world import sentiment
from tests.support import families as f

ROOT = Path(__file__).parents[2]
MODEL, IDS_READ = f.DECODERS["gpt2"], [3, 1, 2, 5]


class Inputs(mp.Method):
    """Changes nothing, and records the inputs of layers."""

    targets = ""

    def __init__(self):
        self.x = {}

    def apply(self, layer, x):
        self.x[layer.path] = host(getattr(x, "data", x))[0]
        return layer(x)


def tables(γ, kind, model=MODEL):
    """Return {path: Panel} of one kind, and {path: input of the layer}."""
    found = mp.inspect(model, γ, IDS_READ, new_tokens=0).views[0].panels
    inputs = Inputs()
    model(np.array([IDS_READ]), mp.Chain(γ, inputs.attach(model)))
    return {p.path: p for p in found if p.kind == kind}, inputs.x


@pytest.mark.parametrize("name", ["lora", "lora, rank-stabilised", "lora of embeddings", "dora"])
def test_singular_values_and_sizes_of_an_update(name):
    γ, layers = f.attached(name, MODEL), dict(MODEL.modules())
    singular, x = tables(γ, "singular")
    sizes, _ = tables(γ, "low rank")
    assert {*singular} == {*sizes} == {*γ.at}
    for path, ps in γ.at.items():
        ΔW = γ.method.scale * ps["A"].data @ ps["B"].data
        σ = np.linalg.svd(ΔW, compute_uv=False)[: γ.method.rank]
        np.testing.assert_allclose(singular[path].values[0], σ, atol=1e-12)
        W = layers[path].W.data
        share = np.linalg.norm(ΔW) / np.linalg.norm(W)
        assert abs(singular[path].note[1] - share) < 1e-12
        change, frozen = (x[path] @ M if path != "tokens" else M[x[path]] for M in (ΔW, W))
        ratio = np.linalg.norm(change, axis=1) / np.linalg.norm(frozen, axis=1)
        np.testing.assert_allclose(sizes[path].values[:, 0], ratio, rtol=1e-10)


def test_magnitudes_of_dora():
    γ, layers = f.attached("dora", MODEL), dict(MODEL.modules())
    for path, table in tables(γ, "magnitude")[0].items():
        z = γ.at[path]["m"].data[0] / np.linalg.norm(layers[path].W.data, axis=0)
        places = [int(word[1:-1]) for word in table.words[0]]
        np.testing.assert_allclose(table.values[0], z[places], rtol=1e-12)
        assert abs(abs(z - 1).max() - abs(table.values[0, 0] - 1)) < 1e-12


def test_units_of_bottlenecks():
    γ = f.attached("houlsby", MODEL)
    found, x = tables(γ, "bottleneck")
    for path, table in found.items():
        layer, ps = dict(MODEL.modules())[path], {n: p.data for n, p in γ.at[path].items()}
        h = x[path] @ layer.W.data + layer.b.data
        z = gelu(mp.Tensor(h @ ps["D"] + ps["b"])).data
        units = [int(column.split()[1]) for column in table.columns]
        np.testing.assert_allclose(table.values, z[:, units], atol=1e-12)
        assert table.note == ("active", (z > 0).mean())
    γ = f.attached("parallel adapter", MODEL)
    found, x = tables(γ, "bottleneck")
    for path, table in found.items():
        z = relu(mp.Tensor(x[path] @ γ.at[path]["W_down"].data)).data
        np.testing.assert_allclose(np.sort(table.values), np.sort(z), atol=1e-12)


@pytest.mark.parametrize(
    "name, kind, parameter, start",
    [("ia3", "scaling", "l", 1), ("bitfit", "vector", "delta", 0)],
)
def test_largest_entries_of_vectors(name, kind, parameter, start):
    γ = f.attached(name, MODEL)
    for path, table in tables(γ, kind)[0].items():
        z = γ.at[path][parameter].data[0]
        far = np.sort(abs(z - start))[::-1][:8]
        np.testing.assert_allclose(abs(table.values[0] - start), far, atol=1e-12)
        assert all(z[int(w[1:-1])] == x for w, x in zip(table.words[0], table.values[0]))
        assert abs(table.note[1] - np.sqrt(((z - start) ** 2).mean())) < 1e-12


def test_changes_of_weights_and_norms():
    γ, layers = f.attached("full", MODEL), dict(MODEL.modules())
    for path, table in tables(γ, "tensor")[0].items():
        for name, value in zip(table.rows, table.values[:, 0]):
            W = getattr(layers[path], name).data
            change = γ.at[path][name].data.reshape(W.shape) - W
            assert abs(value - np.linalg.norm(change) / np.linalg.norm(W)) < 1e-12
    γ = f.attached("norms", MODEL)
    rows = [p for p in mp.inspect(MODEL, γ, IDS_READ).views[0].panels if p.kind == "vector"]
    assert [(p.path, p.rows) for p in rows[:2]] == [
        ("blocks.0.ln1", ["g"]),
        ("blocks.0.ln1", ["b"]),
    ]
    g = γ.at["blocks.0.ln1"]["g"].data[0] - layers["blocks.0.ln1"].g.data
    assert abs(abs(rows[0].values).max() - abs(g).max()) < 1e-12


@pytest.mark.parametrize("name", ["prompt of 3", "multitask prompt", "encoded prompt"])
def test_nearest_words_of_a_prompt(name):
    γ = f.attached(name, MODEL)
    (P,) = γ.resolve().prepended(MODEL.tokens, 1).rows
    found, _ = tables(γ, "cosine")
    ids, cosines = mp.nearest(P.data[0], MODEL.tokens.W, 5)
    np.testing.assert_allclose(found["tokens"].values, cosines, atol=1e-12)
    assert found["tokens"].words == [[str(i) for i in row] for row in ids]
    view = mp.inspect(MODEL, γ, IDS_READ, new_tokens=0).views[0]
    (received,) = (panel for panel in view.panels if panel.kind == "received")
    np.testing.assert_allclose(received.values, view.stacks[""].received[: len(ids)], atol=1e-12)
    norms = tables(γ, "norm")[0]["tokens"].values[:, 0]
    W = MODEL.tokens.W.data
    size = np.linalg.norm(P.data[0], axis=1) / np.linalg.norm(W, axis=1).mean()
    np.testing.assert_allclose(norms, size, rtol=1e-12)


def test_the_chance_of_a_cosine_is_that_of_other_random_vectors():
    found, _ = tables(f.attached("prompt of 3", MODEL), "cosine")
    W = MODEL.tokens.W.data
    others = np.random.default_rng(1).normal(size=(5000, W.shape[1]))
    size = np.linalg.norm(others, axis=1)[:, None] * np.linalg.norm(W, axis=1)
    mean = (others @ W.T / size).max(1).mean()
    assert abs(found["tokens"].note[1] / mean - 1) < 0.1


def test_attention_over_adapters():
    adapters = [f.attached(name, MODEL) for name in ("houlsby", "pfeiffer")]
    γ = mp.Fusion(adapters).attach(MODEL, np.random.default_rng(0))
    weights = γ.fusion_weights(MODEL, np.array([IDS_READ]))
    found, _ = tables(γ, "weights")
    assert {*found} == {*weights}
    for path, s in weights.items():
        np.testing.assert_allclose(found[path].values, s[0], atol=1e-12)


def test_the_gate_of_a_prefix():
    γ = f.attach_random(mp.PrefixTuning(2, gate=True), MODEL)
    found, _ = tables(γ, "gate")
    assert [*found] == ["blocks.0.attn", "blocks.1.attn"]
    for path, table in found.items():
        np.testing.assert_array_equal(table.values, γ.at[path]["g"].data)


class Doubled(mp.Method):
    """h + h d, of a reader's own        d = 0"""

    targets = r"mlp$"

    def start(self, layer, rng):
        return {"d": np.full((1, layer.width), 0.5)}

    def apply(self, layer, x, d):
        return layer(x) * (d + 1.0)


def test_a_method_of_the_readers_own():
    found, _ = tables(Doubled().attach(MODEL), "layer")
    assert [*found] == ["blocks.0.mlp", "blocks.1.mlp"]
    for table in found.values():
        np.testing.assert_allclose(table.values, 0.5, rtol=1e-12)


def test_probes_of_each_layer_and_their_control():
    """Reviews end in a full stop: the embedding knows nothing, the blocks do, random labels not."""
    model, tokenizer = mp.load(), mp.load_tokenizer()
    examples = [(tokenizer.encode(t).ids, y) for t, y in sentiment.splits()["train"][:800]]
    base = mp.Classifier(model, 2)
    γ = mp.Probe().attach(base)
    view = mp.inspect(base, γ, examples[0][0], examples=examples).views[0]
    (table,) = (panel for panel in view.panels if panel.kind == "accuracy")
    assert len(table.rows) == model.config.layers + 1
    assert table.values[0, 0] < 0.6 < table.values[1:, 0].min()
    assert abs(table.values[:, 1] - 0.5).max() < 0.1
    np.testing.assert_array_equal(table.values[:, 2], table.values[:, 0] - table.values[:, 1])
    by_label = sorted(examples, key=lambda example: example[1])
    again = probes(Reader(base, mp.PLAIN, np.array([1])), by_label)
    assert abs(again.values[:, 0] - table.values[:, 0]).max() < 0.1


def test_formulas_have_an_equation_that_is_verified_and_a_line():
    for formula in MEASURES.values():
        path, line = where(formula.function).split(":")
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        assert formula.function.__name__ in "".join(lines[int(line) - 1 : int(line) + 1])
        assert not formula.id or verified(formula.id)["ok"]
    assert all(verified(id)["ok"] for id in IDS.values())


def test_every_method_has_its_equation():
    for name, method in mp.METHODS.items():
        assert method_id(method()) or name == "ptuning", name  # it resolves to PseudoTokens
    assert method_id(Doubled()) == ""
