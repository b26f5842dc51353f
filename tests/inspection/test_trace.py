"""Each step of a forward pass: recorded or computed again, it is what the model computes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.backend import host
from tests.support import families as f

ROOT = Path(__file__).parents[2]
BLOCK = """ln1 attn.q attn.k attn.v attn.queries attn.keys attn.values attn.scores attn.softmax
    attn.heads attn.o attn attn.residual ln2 mlp.up mlp.activation mlp.down mlp""".split()


class Heads(mp.Method):
    """Changes nothing, and records what W_o reads."""

    targets = r"(attn|cross)\.o$"

    def __init__(self):
        self.inputs = {}

    def apply(self, layer, x):
        self.inputs[layer.path] = host(x.data)
        return layer(x)


def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@f.distinct_networks
@f.methods
def test_steps_are_what_the_model_computes(model, name):
    """The heads, computed again, are those that W_o read, and the last step is the output."""
    γ = f.attached(name, model)
    ids, _, _ = f.batch(model, 1, γ)
    heads, steps = Heads(), mp.trace(model, ids, γ)
    output = host(model(ids, mp.Chain(γ, heads.attach(model))).data)
    assert np.array_equal([*steps.values()][-1].value.reshape(output.shape), output)
    for path, x in heads.inputs.items():
        at = path.removesuffix(".o")
        assert abs(steps[f"{at}.heads"].value - x).max() < 1e-12
        scores, weights = steps[f"{at}.scores"].value, steps[f"{at}.softmax"].value
        assert abs(softmax(scores) - weights).max() < 1e-12
    assert all(s.equation and None not in s.inputs for s in steps.values())


@f.distinct_networks
def test_steps_of_a_padded_batch_in_which_each_row_has_another_method(model):
    γ = f.mixture(model)
    ids, _, mask = f.batch(model, len(γ.parts), γ)
    heads, steps = Heads(), mp.trace(model, ids, γ, mask=mask)
    output = host(model(ids, mp.Chain(γ, heads.attach(model)), mask=mask).data)
    assert np.array_equal([*steps.values()][-1].value.reshape(output.shape), output)
    for path, x in heads.inputs.items():
        assert abs(steps[f"{path.removesuffix('.o')}.heads"].value - x).max() < 1e-12


EQUATIONS = {  # of steps: from their inputs in order, as the equation says
    "y = W[ids]": lambda ids, W: W[np.maximum(ids, 0)],
    "y = x W + b": lambda x, W, b: x @ W + b,
    "y = x W": lambda x, W: x @ W,
    "z = x Wᵀ": lambda x, W: x @ W.T,
    "z = x Wᵀ + b": lambda x, W, b: x @ W.T + b,
    "softmax(scores)": softmax,
    "h = W₀ x + (α/r) B A x": lambda x, base, A, B: base + 3 / 2 * (x @ A) @ B,
    "b + δ, for every bias b": lambda x, base, delta: base + delta,
    "silu(gate) ⊙ up": lambda gate, up: gate / (1 + np.exp(-gate)) * up,
    "max(x, 0),  x = up": lambda x: np.maximum(x, 0),
    "decoder.ln / √D": lambda h: h / np.sqrt(h.shape[-1]),
}


@f.distinct_networks
@pytest.mark.parametrize("name", ["plain", "lora", "bitfit"])
def test_a_step_is_what_its_equation_says_of_its_inputs(model, name):
    γ = f.attached(name, model)
    ids, _, _ = f.batch(model, 1, γ)
    steps = mp.trace(model, ids, γ)
    checked = set()
    for step in steps.values():
        if step.equation in EQUATIONS:
            value = EQUATIONS[step.equation](*step.inputs.values())
            assert abs(value - step.value).max() < 1e-9, step
            checked.add(step.equation)
        if step.name.endswith(".residual"):
            rows = sum(step.inputs.values())[0]
            assert all(abs(rows - row).max(1).min() < 1e-12 for row in step.value[0])
            assert ("needed" in step.equation) == (len(rows) > step.value.shape[1])
    assert len(checked) >= 3


LISTED = {  # a network, an adaptation: steps, each with the equation and the inputs
    ("gpt2", "plain"): {
        "tokens": ("y = W[ids]", "ids W"),
        "positions": ("y = W[ids]", "position_ids W"),
        "embeddings": ("tokens + positions", "tokens positions"),
        "blocks.0.ln1": ("y = g n + b,  n = (x - mean) / √(var + ε)", "embeddings g b"),
        "blocks.0.attn.queries": ("q, by head", "blocks.0.attn.q"),
        "blocks.0.attn.keys": ("k, by head", "blocks.0.attn.k"),
        "blocks.0.attn.scores": (
            "queries keysᵀ / √d, -∞ where masked",
            "blocks.0.attn.queries blocks.0.attn.keys",
        ),
        "blocks.0.attn.softmax": ("softmax(scores)", "blocks.0.attn.scores"),
        "blocks.0.attn.heads": (
            "[head_1; …; head_H],  head_i = softmax_i values_i",
            "blocks.0.attn.softmax blocks.0.attn.values",
        ),
        "blocks.0.attn.residual": ("embeddings + blocks.0.attn", "embeddings blocks.0.attn"),
        "blocks.1.attn.residual": ("blocks.0 + blocks.1.attn", "blocks.0 blocks.1.attn"),
        "head": ("z = x Wᵀ", "ln W"),
    },
    ("gpt2", "chain"): {
        "embeddings": ("[P; X] + positions", "P tokens positions"),
        "blocks.0.attn.q.base": ("y = x W + b", "blocks.0.ln1 W b"),
        "blocks.0.attn.q": ("h = W₀ x + (α/r) B A x", "blocks.0.ln1 blocks.0.attn.q.base A B"),
        "blocks.0.attn.keys": ("[P_key; k], by head", "P_key blocks.0.attn.k"),
        "blocks.1.attn.residual": (
            "blocks.0 + blocks.1.attn, at the positions that are needed",
            "blocks.0 blocks.1.attn",
        ),
    },
    ("llama", "prefix of 2"): {
        "blocks.0.attn.queries": ("q rotated by its position, by head", "blocks.0.attn.q"),
        "blocks.0.attn.keys": (
            "[P_key; k rotated by its position], by head",
            "P_key blocks.0.attn.k",
        ),
        "blocks.0.attn.values": ("[P_value; v], by head", "P_value blocks.0.attn.v"),
        "blocks.0.mlp.activation": ("silu(gate) ⊙ up", "blocks.0.mlp.gate blocks.0.mlp.up"),
    },
    ("gpt2", "parallel adapter"): {
        "blocks.0.attn.base": ("W_o [head_1; …; head_H]", "blocks.0.ln1"),
        "blocks.0.attn": (
            "h + s · relu(x W_down) W_up",
            "blocks.0.ln1 blocks.0.attn.base W_down W_up",
        ),
    },
    ("bert", "plain"): {
        "embeddings": ("tokens + positions + types", "tokens positions types"),
        "ln": ("y = g n + b,  n = (x - mean) / √(var + ε)", "embeddings g b"),
        "blocks.0.attn.residual": ("ln + blocks.0.attn", "ln blocks.0.attn"),
        "blocks.0.mlp.residual": ("blocks.0.ln1 + blocks.0.mlp", "blocks.0.ln1 blocks.0.mlp"),
        "transform.activation": (
            "x Φ(x),  Φ the distribution function of N(0, 1),  x = dense",
            "transform.dense",
        ),
    },
    ("t5", "plain"): {
        "encoder.positions": ("y = W[ids]", "buckets W"),
        "encoder.blocks.0.attn.scores": (
            "queries keysᵀ + bias",
            "encoder.blocks.0.attn.queries encoder.blocks.0.attn.keys bias",
        ),
        "decoder.blocks.0.cross.k": ("y = x W + b", "encoder.ln W b"),
        "decoder.blocks.0.cross.residual": (
            "decoder.blocks.0.attn.residual + decoder.blocks.0.cross",
            "decoder.blocks.0.attn.residual decoder.blocks.0.cross",
        ),
        "head.input": ("decoder.ln / √D", "decoder.ln"),
    },
    ("cls", "plain"): {
        "pooler.input": ("pool(h), pool = 'cls'", "blocks.1"),
        "pooler": ("y = x W + b", "pooler.input W b"),
        "score.input": ("tanh(pooler)", "pooler"),
    },
    ("attention", "plain"): {
        "query.base": ("y = x W", "ln W"),
        "score.input": ("Σ a_t h_t,  a = softmax(h q)", "ln query"),
    },
}


@pytest.mark.parametrize(("network", "name"), LISTED)
def test_names_equations_and_inputs(network, name):
    model = f.HEADS_TOO[network]
    γ = f.attached(name, model)
    steps = mp.trace(model, f.batch(model, 1, γ)[0], γ)
    for step, (equation, inputs) in LISTED[network, name].items():
        assert (steps[step].equation, " ".join(steps[step].inputs)) == (equation, inputs)
    assert ("blocks.0.attn.base" in steps) == (name == "parallel adapter")
    for step in steps.values():  # an input that is a step is its value
        assert all(np.allclose(x, steps[n].value) for n, x in step.inputs.items() if n in steps)


def test_steps_are_in_the_order_in_which_they_are_computed():
    model = f.DECODERS["gpt2"]
    names = [*mp.trace(model, [[1, 2, 3]])]
    blocks = [f"blocks.{i}.{n}".rstrip(".") for i in (0, 1) for n in [*BLOCK, ""]]
    assert names == ["tokens", "positions", "embeddings", *blocks, "ln", "head"]


SOURCES = {  # what the line of a step has
    "tokens": "def __call__(self, ids):",
    "embeddings": "self.positions.embed(h, forward)",
    "blocks.0.ln1": "def __call__(self, x):",
    "blocks.0.attn.q": "def apply(self, layer, x, A, B, rng=None):",
    "blocks.0.attn.q.base": "def __call__(self, x):",
    "blocks.0.attn.queries": "self.positions.turn(forward(self.q, x), forward)",
    "blocks.0.attn.keys": "def prepend(self, layer, P_key, P_value, g=None):",
    "blocks.0.attn.scores": "q @ swap(k)",
    "blocks.0.attn.softmax": "np.exp(e, out=e)",
    "blocks.0.attn.heads": "e @ v",
    "blocks.0.attn": "def __call__(self, x, forward):",
    "blocks.0.attn.residual": "h + forward(self.attn, forward(self.ln1, h))",
    "blocks.0.mlp.activation": "def gelu(x):",
    "blocks.0": "def __call__(self, h, forward):",
}


def test_the_line_of_a_step_is_where_it_is_computed():
    model = f.DECODERS["gpt2"]
    γ = f.attached("lora", model)
    steps = mp.trace(model, [[1, 2, 3]], mp.Chain(γ, f.attached("prefix of 2", model)))
    for name, text in SOURCES.items():
        lines = (ROOT / steps[name].file).read_text().splitlines()
        assert text in lines[steps[name].line - 1], name
    assert steps["blocks.0.attn.q"].paper == "Hu et al. 2021, eq. 3"
    assert steps["blocks.0.attn.keys"].paper == "Li & Liang 2021, §4"
    assert steps["blocks.0.attn.heads"].file == "minipeft/autograd/functional.py"


@dataclass(frozen=True)
class Steer(mp.Method):
    """f(h + 1)        An author 1999, §1"""

    targets: str

    def apply(self, layer, x):
        return layer(x + 1)


class Plain(mp.Method):
    targets = "ln$"

    def apply(self, layer, x):
        return 2 * layer(x)


@f.distinct_networks
@pytest.mark.parametrize("targets", [r"blocks\.0$", r"blocks\.1$", "attn$", "mlp$"])
def test_the_changed_input_of_a_layer_that_has_others_inside_is_a_step(model, targets):
    ids, _, _ = f.batch(model, 1)
    γ = Steer(targets).attach(model)
    steps, output = mp.trace(model, ids, γ), host(model(ids, γ).data)
    changed = [s for s in steps.values() if s.name.endswith(".input") and "f(" in s.equation]
    assert len(changed) == len(γ.at)
    for step in changed:
        (x,) = step.inputs.values()
        assert np.array_equal(step.value, x + 1)
    assert np.array_equal([*steps.values()][-1].value.reshape(output.shape), output)


def test_a_method_of_the_readers_own_without_a_docstring_is_a_step_too():
    model = f.DECODERS["gpt2"]
    steps = mp.trace(model, [[1, 2]], Plain().attach(model))
    assert np.array_equal(steps["ln"].value, 2 * steps["ln.base"].value)
    assert steps["ln"].file == Path(__file__).as_posix() and steps["ln"].equation == "Plain"
    line = Path(__file__).read_text().splitlines()[steps["ln"].line - 1]
    assert line == "    def apply(self, layer, x):"


def test_rows_of_prefixes_have_one_step_for_each_attention():
    """In Each, the output of an attention with virtual tokens alone is another tensor."""
    model = f.DECODERS["gpt2"]
    rows = f.attached("rows of every block", model)
    steps = mp.trace(model, [[1, 2], [3, 4]], mp.Each([rows, None]))
    assert "blocks.0.attn" in steps and "blocks.0.attn.base" not in steps
    assert steps["blocks.0.attn.keys"].value.shape == (2, 2, 4, 4)


def test_a_reparametrised_method_has_the_parameters_that_its_network_computes():
    model = f.DECODERS["gpt2"]
    γ = f.attached("p-tuning", model)
    steps = mp.trace(model, f.batch(model, 1, γ)[0], γ)
    (h,) = γ.resolve().parameters()
    assert np.array_equal(steps["tokens"].inputs["h"], h.data) and h.data.any()


def test_a_shared_prompt_is_computed_in_every_row():
    model = f.DECODERS["gpt2"]
    steps = mp.trace(model, [[1, 2], [3, 4]], f.attached("prompt of 3", model))
    assert steps["blocks.0.attn.softmax"].value.shape == (2, 2, 5, 5)


def test_a_traced_model_and_adaptation_are_as_before():
    model = f.DECODERS["gpt2"]
    γ = f.attached("chain", model)
    before = model([[1, 2]], γ).data
    mp.trace(model, [[1, 2]], γ)
    assert np.array_equal(before, model([[1, 2]], γ).data)
    assert all(p.grad is None and p.requires_grad for p in γ.parameters())


def test_errors_are_those_of_the_model():
    with pytest.raises(ValueError, match="is not attached"):
        mp.trace(f.DECODERS["gpt2"], [[1]], mp.LoRA())
    with pytest.raises(ValueError, match="99"):
        mp.trace(f.DECODERS["gpt2"], [[99]])
