"""PEFT's IA3: l (out, 1), or (1, in) where the input is scaled."""

import numpy as np

from ...adaptation.adaptation import parameter
from ...adaptation.patterns import matches
from ...methods import IA3
from .native import OnlyOurs


def to_peft(γ, family, full):
    """The configuration and tensors of an (IA)³; of layers side by side those left out have 1."""
    tensors, modules, inputs, L = {}, [], [], γ.made_for.config.layers
    for paths in family.layers_of(γ.at):
        first = next(path for path in paths if path in γ.at)
        module, l = full(first), γ.at[first]["l"]
        if matches("inputs", γ.method.inputs, first):
            if len({id(γ.at[p]["l"]) if p in γ.at else p for p in paths}) > 1:
                raise OnlyOurs
            inputs.append(module)
            x = l.data
        else:
            ls = [γ.at[p]["l"].data if p in γ.at else np.ones_like(l.data) for p in paths]
            x = np.concatenate(ls, axis=1).T
        modules.append(module)
        tensors[f"base_model.model.{module}.ia3_l"] = x
    return {
        "target_modules": family.endings(modules, L),
        "feedforward_modules": family.endings(inputs, L),
        "fan_in_fan_out": family.conv,
    }, tensors


def from_peft(file, theirs, known):
    """[IA3]; as it is known, if the file still is so."""
    at, inputs = {}, []
    fed = theirs.named("feedforward_modules")
    for module in theirs.targets():
        paths = theirs.modules[module]
        (I, O), n = theirs.shape(module), len(paths)
        if module in fed:
            l = parameter(file.need(f"{module}.ia3_l", (1, I)).astype(theirs.model.dtype))
            ls, inputs = [l] * n, inputs + paths
        else:
            l = file.need(f"{module}.ia3_l", (O * n, 1)).T.astype(theirs.model.dtype)
            ls = [parameter(x.copy()) for x in np.split(l, n, axis=1)]
        at |= dict(zip(paths, ls))
    γ = IA3(theirs.pattern(at), theirs.pattern(inputs) if inputs else r"(?!)")
    if known:  # what it left out was written as 1
        out = [path for path in at if not matches("targets", known[0].targets, path)]
        if all((at[path].data == 1).all() for path in out):
            γ, at = known[0], {path: l for path, l in at.items() if path not in out}
    return [γ.bind({path: {"l": l} for path, l in at.items()}, theirs.model)]
