"""`minipeft.check`: every law of a method fails for a method that breaks it, and says where."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft import Method, Tensor, check
from minipeft.autograd.ops import sum as sum_over
from minipeft.autograd.tensor import op
from minipeft.checking.cases import networks
from minipeft.checking.finding import FAILS, NOT_APPLICABLE, NOT_WRITTEN
from minipeft.checking.formulas import FORMULAS
from minipeft.checking.laws import LAWS


@dataclass(frozen=True)
class Shift(Method):
    """h = W₀ x + b + δ        δ = 0: a method that keeps all laws"""

    targets: str = r"attn\.v$"

    def start(self, layer, rng):
        return {"delta": np.zeros((1, layer.shape[1]))}

    def apply(self, layer, x, delta):
        return layer(x) + delta

    def weights(self, layer, delta):
        return {"b": layer.b + delta}


class OneAxis(Shift):
    def start(self, layer, rng):
        return {"delta": np.zeros(layer.shape[1])}


class Unseeded(Shift):
    def start(self, layer, rng):
        return {"delta": np.random.default_rng().normal(size=(1, layer.shape[1]))}


class NotTheIdentity(Shift):
    def start(self, layer, rng):
        return {"delta": np.full((1, layer.shape[1]), 0.1)}


class WrongDerivative(Shift):
    add = staticmethod(op(lambda y, delta: (y + delta, lambda g: g, lambda g: 1.01 * g)))

    def apply(self, layer, x, delta):
        return self.add(layer(x), delta)


class Detached(Shift):
    def apply(self, layer, x, delta):
        return layer(x) + delta * np.abs(1 + delta.data)


class Unused(Shift):
    def start(self, layer, rng):
        return super().start(layer, rng) | {"unused": np.zeros((1, 2))}

    def apply(self, layer, x, delta, unused):
        return super().apply(layer, x, delta)

    def weights(self, layer, delta, unused):
        return super().weights(layer, delta)


class OverTokens(Shift):
    def apply(self, layer, x, delta):
        y = layer(x)
        return y + delta + sum_over(y, axis=1, keepdims=True) * 0.1


class OverTexts(Shift):
    def apply(self, layer, x, delta):
        y = layer(x)
        return y + delta + sum_over(y, axis=0, keepdims=True) * 0.1


class FirstUser(Shift):
    def apply(self, layer, x, delta):
        return layer(x) + (delta[0] if delta.ndim == 3 else delta)


class ByPlace(Shift):
    def apply(self, layer, x, delta):
        y = layer(x)
        return y + delta * np.arange(y.shape[1], dtype=y.dtype)[:, None]


class WrongWeights(Shift):
    def weights(self, layer, delta):
        return {"b": layer.b - delta}


class Tampering(Shift):
    def apply(self, layer, x, delta):
        y = layer(x) - layer.b + delta
        layer.b = Tensor(layer.b.data + 1)
        return y

    def weights(self, layer, delta):
        return {"b": delta}


class Doubles(Shift):
    def apply(self, layer, x, delta):
        return layer(x) + delta * np.float64(1) * np.ones((1, 1))


OF_TEXTS = {"padding", "mixed", "users", "cached", "merged"}
BROKEN = {  # a method: the laws that it breaks, which one is meant, and a part of what is said
    OneAxis: ({"shapes", "mixed", "users"}, "shapes", "delta has the shape (8,)"),
    Unseeded: ({"start"}, "start", "attn.v.delta differs: draw it from rng"),
    NotTheIdentity: ({"identity", "equation"}, "identity", "that are not 0 there: delta, in a "),
    WrongDerivative: ({"derivatives"}, "derivatives", "the gradient of blocks."),
    Detached: ({"derivatives", "merged"}, "derivatives", "the gradient of blocks."),
    Unused: ({"gradient"}, "gradient", "attn.v.unused has none: outputs do not depend on it, or"),
    OverTokens: (OF_TEXTS, "padding", "padding at "),
    OverTexts: (OF_TEXTS, "mixed", ", in a small "),
    FirstUser: ({"users", "mixed"}, "users", "gradients of user "),
    ByPlace: (OF_TEXTS, "cached", "tokens "),
    WrongWeights: ({"merged"}, "merged", "merged and unmerged logits differ, in a small "),
    Tampering: ({"frozen", "mixed"}, "frozen", "a weight of the base has changed"),
    Doubles: ({"float32"}, "float32", "float64, in a small "),
}


def failing(report):
    return {f.law for f in report.findings if f.result == FAILS}


def test_a_method_that_keeps_all_laws():
    report = check(Shift)
    assert report.ok and report.held == report.laws == len(LAWS) and not failing(report)
    assert str(report).splitlines()[0] == f"{Shift()}: {len(LAWS)} of {len(LAWS)} laws hold"


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_law_is_found(broken):
    laws, meant, says = BROKEN[broken]
    report = check(broken, "ia3" if broken is NotTheIdentity else None)
    finding = {f.law: f for f in report.findings}[meant]
    assert failing(report) == laws and says in finding.why and not report.ok
    assert report.laws - report.held == len(laws)


def test_every_law_has_a_method_that_breaks_it():
    assert {meant for _, meant, _ in BROKEN.values()} == {law.name for law in LAWS}


class NotAList(mp.PromptTuning):
    def prepend(self, layer, P):
        return P


def test_a_prompt_that_is_not_in_a_list():
    finding = check(NotAList(3)).findings[0]
    assert finding.law == "shapes" and finding.result == FAILS
    assert finding.why.startswith("prepend returns a tensor at tokens: return a list, [P], or ")
    finding = check(NotAList(3), "prompt").findings[-1]
    assert finding.law == "equation" and finding.why.startswith("ValueError: ")


class AsArray(Shift):
    def apply(self, layer, x, delta):
        return layer(x) + delta.data


def test_a_parameter_that_is_used_as_an_array_has_no_gradient():
    report = check(AsArray)
    assert failing(report) == {"derivatives", "gradient"}
    why = {f.law: f.why for f in report.findings}["gradient"]
    assert why.startswith("blocks.") and "or only on delta.data, not delta, in a small" in why


class NotANumber(Shift):
    """NaN in two of the three networks, those that have biases in the MLP."""

    targets: str = r"mlp\.up$"

    def apply(self, layer, x, delta):
        return (layer(x) + delta) * (np.nan if "b" in layer.tensors() else 1.0)

    def weights(self, layer, delta):
        return {}


def test_what_is_not_a_number_fails():
    found = {f.law: f for f in check(NotANumber, "ia3").findings}
    for law in ("identity", "padding", "mixed", "users", "cached"):
        assert found[law].result == FAILS and np.isnan(found[law].worst)


def test_the_networks_are_as_they_were_after_a_method_that_changes_them():
    before = [t.data.tobytes() for model in networks().values() for t in model.parameters()]
    check(Tampering)
    assert before == [t.data.tobytes() for m in networks().values() for t in m.parameters()]


# -- what can't be checked, and what is not written


class Empty(Method):
    targets = r"attn\.q$"

    def start(self, layer, rng):
        return {"d": np.zeros((1, layer.shape[1]))}

    def apply(self, layer, x, d):
        raise NotImplementedError


class EmptyStart(Empty):
    def start(self, layer, rng):
        raise NotImplementedError


class Raises(Empty):
    def apply(self, layer, x, d):
        return x @ np.ones((1, 1))  # here


def test_what_is_not_written_says_so():
    report = check(EmptyStart, "lora")
    assert {f.result for f in report.findings} == {NOT_WRITTEN} and report.held == 0
    assert all(re.fullmatch(r"fill in `start`, line \d+", f.why) for f in report.findings)
    report = check(Empty)
    results = {f.law: f.result for f in report.findings}
    assert results["start"] == "ok" and results["derivatives"] == NOT_WRITTEN and not report.ok
    assert results["merged"] == NOT_APPLICABLE and report.laws == len(LAWS) - 1


def test_an_error_of_the_method_has_its_line():
    found = {f.law: f for f in check(Raises).findings}
    lines = Path(__file__).read_text().splitlines()
    line = next(i for i, text in enumerate(lines, 1) if text.endswith("# here"))
    assert found["padding"].result == FAILS and found["padding"].worst is None
    assert found["padding"].why.endswith(f"(test_check.py, line {line}), in a small GPT-2")
    assert found["padding"].why.startswith("ValueError: matmul")


@dataclass(frozen=True)
class NeedsRank(Shift):
    rank: int = None

    def __init__(self, rank):
        object.__setattr__(self, "rank", rank)


class Nowhere(Shift):
    targets = "^nowhere$"


def shift(x, delta):
    return x + delta


MISUSED = [
    ((NeedsRank,), "NeedsRank() is called without arguments, so each field needs a default: Type"),
    (
        (Nowhere(targets="^nowhere$"),),
        "no layer matches '^nowhere$'; the small networks have",
    ),
    (
        (shift,),
        "shift is a function of arrays: name the equation that it should be",
    ),
    (
        (FORMULAS["dpo"].right,),
        "dpo is a function of arrays: name the equation that it should be, ",
    ),
    ((FORMULAS["dpo"].right,), "such as --as dpo; the names are "),
    ((shift, "lorra"), "no equation is called 'lorra'; did you mean lora? The names: attention, "),
    (
        (shift, "lora"),
        "b (O,), optional; A (I, r); B (r, O); alpha.  shift has x, delta",
    ),
    ((mp.LoRA, "gae"), "targets='(attn|cross)"),
    ((mp.LoRA, "gae"), "is a method: use prefix, lora, dora, ia3, adapter, prompt"),
    ((3,), "a method or a function is checked, not 3"),
]


@pytest.mark.parametrize("arguments, says", MISUSED)
def test_what_can_not_be_checked_is_refused(arguments, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        check(*arguments)


def test_a_method_that_fits_only_some_networks_is_checked_on_those():
    assert check(mp.Probe()).ok  # of a classifier


def test_a_method_that_refuses_to_be_merged_is_not_merged():
    found = {f.law: f for f in check(mp.Adapter(2)).findings}
    assert found["merged"].result == NOT_APPLICABLE and "no `weights`" in found["merged"].why
    tied = mp.LoRA(2, targets="^tokens$")
    found = {f.law: f for f in check(tied).findings}
    assert found["merged"].result == "ok"  # the Llama's head is its own
