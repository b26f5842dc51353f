"""`minipeft check --as` of methods: ours are their equations, and usual mistakes are explained."""

from dataclasses import dataclass

import pytest

import minipeft as mp
from minipeft import check
from minipeft.autograd.functional import gelu
from minipeft.checking.finding import FAILS

OURS = {
    "lora": mp.LoRA,
    "dora": mp.DoRA,
    "ia3": mp.IA3,
    "adapter": mp.Adapter,
    "prefix": mp.PrefixTuning,
    "prompt": mp.PromptTuning,
}


@pytest.mark.parametrize("name", OURS)
def test_our_methods_are_their_equations(name):
    report = check(OURS[name], name)
    assert report.ok and report.findings[-1].law == "equation"
    identity = {f.law: f.result for f in report.findings}["identity"]
    assert (identity == "ok") == (name not in ("prefix", "prompt"))


@dataclass(frozen=True)
class Unscaled(mp.LoRA):
    def branch(self, layer, x, A, B, rng=None):
        return layer.product(x, self.alpha * A) @ B


@dataclass(frozen=True)
class Renamed(mp.LoRA):
    def start(self, layer, rng):
        return {"down": super().start(layer, rng)["A"], "up": super().start(layer, rng)["B"]}

    def apply(self, layer, x, down, up):
        return super().apply(layer, x, down, up)

    def weights(self, layer, down, up):
        return super().weights(layer, down, up)


@dataclass(frozen=True)
class Swapped(mp.PrefixTuning):
    def prepend(self, layer, P_key, P_value):
        return P_value, P_key


@dataclass(frozen=True)
class Parallel(mp.Adapter):
    def apply(self, layer, x, D, b, U, c):
        return layer(x) + gelu((x if x.shape[-1] == D.shape[-2] else layer(x)) @ D + b) @ U + c


@pytest.mark.parametrize(
    "method, name, says",
    [
        (Unscaled, "lora", "α instead of α/r: "),
        (Swapped, "prefix", "keys and values of the prefix are swapped: "),
        (Parallel, "adapter", "the input of the layer is read, not its output: "),
        (mp.LoRA(rank_stabilised=True), "lora", "α/√r instead of α/r: "),
        (Renamed, "lora", "alpha; the method has x, W, b, down, up, alpha: rename its"),
        (mp.LoRA, "dora", "the equation has x (T, I); W (I, O);"),
        (mp.BitFit, "ia3", "the method has x, W, b, delta"),
    ],
)
def test_a_slip_of_a_method_is_named(method, name, says):
    report = check(method, name)
    finding = report.findings[-1]
    assert finding.law == "equation" and finding.result == FAILS and says in finding.why
    assert not report.ok


@dataclass(frozen=True)
class Transposed(mp.LoRA):
    """A (r, I) and B (O, r), as PyTorch's linear layers have them."""

    def start(self, layer, rng):
        return {name: a.T for name, a in super().start(layer, rng).items()}

    def branch(self, layer, x, A, B, rng=None):
        return self.scale * (x @ A.T) @ B.T


@dataclass(frozen=True)
class InTheOrderOfColumns(mp.LoRA):
    def apply(self, layer, x, A, B):
        return layer(x) + self.scale * (B @ A @ x)


@dataclass(frozen=True)
class WithoutBias(mp.LoRA):
    def apply(self, layer, x, A, B):
        return x @ layer.W + self.branch(layer, x, A, B)


@dataclass(frozen=True)
class OnlyTheUpdate(mp.LoRA):
    def weights(self, layer, A, B):
        return {"W": self.scale * A @ B}


MISTAKES = [  # a LoRA, law, what is said
    (Transposed, "equation", "A has the shape (8, 6), and the equation has A (I, r): hidden"),
    (InTheOrderOfColumns, "shapes", "; hidden states are rows: x @ A, not A @ x (test_equations"),
    (WithoutBias, "equation", "the bias is left out: add b; in a method, layer(x) is W₀ x + b."),
    (OnlyTheUpdate, "merged", "; at the start, W of `weights` is 0: add that of the layer, in a"),
]


@pytest.mark.parametrize("method, law, says", MISTAKES)
def test_a_usual_mistake_in_lora_is_explained(method, law, says):
    finding = {f.law: f for f in check(method, "lora").findings}[law]
    assert finding.result == FAILS and says in finding.why
