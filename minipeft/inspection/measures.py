"""The formula of every kind of number that an inspection has, and how far it is verified."""

import inspect as source
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..adaptation.method import Method
from ..equations import EQUATIONS
from ..methods import (
    IA3,
    Adapter,
    BitFit,
    DeepPrompt,
    DoRA,
    FullFineTuning,
    Fusion,
    LayerNormTuning,
    LoRA,
    MultiHeadAdapter,
    MultitaskPrompt,
    ParallelAdapter,
    PrefixTuning,
    Probe,
    PromptTuning,
    PseudoTokens,
    PTuningV2,
)
from ..methods.prompt import nearest
from . import mechanisms, view
from .recording import Attended
from .source import PACKAGE


class Measure(NamedTuple):
    """A formula; id: of the catalogue, or "" for a measure of no paper.

    filled: the formula with values, {value} and those of a panel's terms.
    function: computes it.
    """

    equation: str
    filled: str
    id: str
    function: Callable


MEASURES = {
    "change": Measure("‖h′ − h‖ / ‖h‖", "{change} / {size} = {value}", "", view.compare_states),
    "received": Measure("1/(H T) Σ_h Σ_t A_ht", "{value}", "AT-1", Attended),
    "lens": Measure("argmax_v (W ln(h))_v", "{value}", "", view.lens),
    "p": Measure("exp(z_v) / Σ_w exp(z_w)", "{value}", "PLM-1", view.compared),
    "kl": Measure("Σ_v p′(v) log(p′(v) / p(v))", "{value}", "RL-7", view.compared),
    "cause": Measure("log p_s(w) − log p(w)", "{with} − ({without}) = {value}", "", view.traced),
    "lambda": Measure(
        "λ = e^a / (e^a + e^b),  a = log Σ_P e^(q·k/√d),  b = log Σ_text e^(q·k/√d)",
        "e^{a} / (e^{a} + e^{b}) = {value}",
        "PF-3",
        mechanisms.shares,
    ),
    "cosine": Measure("pᵀw / (‖p‖ ‖w‖)", "{value}", "PR-9", nearest),
    "as near": Measure(
        "|{w : cos(p, w) ≥ max cos − 0.01}| − 1", "{value}", "", mechanisms.described
    ),
    "norm": Measure("‖p‖ / mean ‖w‖", "{size} / {mean} = {value}", "", mechanisms.described),
    "worth": Measure(
        "ℓ(without p) − ℓ", "{without} − {whole} = {value}", "PR-1", mechanisms.described
    ),
    "singular": Measure("σ_i((α/r) B A)", "{value}", "LO-1", mechanisms.low_rank),
    "low rank": Measure(
        "‖(α/r) B A x‖ / ‖W₀ x‖", "{change} / {size} = {value}", "LO-1", mechanisms.low_rank
    ),
    "magnitude": Measure("m / ‖W₀‖", "{value}", "LO-1", mechanisms.low_rank),
    "bottleneck": Measure("σ(W_down h)", "{value}", "AD-1", mechanisms.units),
    "gate": Measure("g", "{value}", "PF-17", mechanisms.gate),
    "weights": Measure("softmax_n(Q h · K z_n)", "{value}", "AD-8", mechanisms.fusion),
    "scaling": Measure("l", "{value}", "IA-1", mechanisms.largest),
    "vector": Measure("b′ − b", "{value}", "BF-1", mechanisms.largest),
    "tensor": Measure("‖W′ − W‖ / ‖W‖", "{change} / {size} = {value}", "EQ-FT", mechanisms.tensors),
    "layer": Measure(
        "‖γ(h) − h‖ / ‖h‖", "{change} / {size} = {value}", "", mechanisms.layer_change
    ),
    "accuracy": Measure("1/N Σ_n [argmax W h_n = y_n]", "{value}", "PB-1", mechanisms.probes),
}

IDS = {  # {method: the equation of the catalogue that it is}
    Adapter: "AD-1",
    BitFit: "BF-1",
    DeepPrompt: "PF-7",
    DoRA: "LO-1",
    FullFineTuning: "EQ-FT",
    Fusion: "AD-8",
    IA3: "IA-1",
    LayerNormTuning: "LN-1",
    LoRA: "LO-1",
    MultiHeadAdapter: "HE-1",
    MultitaskPrompt: "PR-11",
    ParallelAdapter: "AD-4",
    PrefixTuning: "PF-2",
    Probe: "PB-1",
    PromptTuning: "PR-1",
    PseudoTokens: "PT-1",
    PTuningV2: "P2-1",
}


def method_id(method: Method) -> str:
    """Return the id of the equation of a method in the catalogue, or "" for none."""
    return next((IDS[cls] for cls in type(method).__mro__ if cls in IDS), "")


def where(thing: Callable) -> str:
    """Return the file and line of a function or a class; a file of the library from its root."""
    path, line = Path(source.getsourcefile(thing)), source.getsourcelines(thing)[1]
    path = path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE) else path
    return f"{path.as_posix()}:{line}"


@cache
def verified(id: str) -> dict:
    """Return an equation of the catalogue, and its largest error on one draw."""
    (equation,) = (e for e in EQUATIONS if e.id == id)
    result = equation.verify([[0, 0]])
    return {
        "formula": equation.formula,
        "source": equation.source,
        "where": where(equation.generator),
        "worst": result.worst,
        "ok": result.ok,
    }


def catalogue(ids: Iterable[str]) -> dict[str, dict]:
    """Return {id: what `verified` returns} of the equations that the numbers have."""
    return {id: verified(id) for id in sorted(set(ids) - {""})}
