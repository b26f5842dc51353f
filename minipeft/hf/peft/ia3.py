"""PEFT's IA3: one vector l for each module, (out, 1), or (1, in) where the input is scaled."""

import numpy as np

from ...adaptation.adaptation import Adaptation, parameter
from ...adaptation.patterns import matches
from ...methods import IA3
from .native import NotInPeft


def write_ia3(γ: Adaptation, family, full):
    """Return the configuration and tensors of an (IA)³; layers of a module without l get ones."""
    tensors, modules, input_modules, c = {}, [], [], γ.made_for.config
    l = lambda path: γ.at[path]["l"] if path in γ.at else None
    for paths in family.fused_groups(γ.at):
        first = next(path for path in paths if path in γ.at)
        module, ones = full(first), np.ones_like(l(first).data)
        modules.append(module)
        if matches("inputs", γ.method.inputs, first):
            if any(l(path) is not l(first) for path in paths):
                raise NotInPeft
            input_modules.append(module)
            x = l(first).data
        else:
            x = np.concatenate([l(p).data if p in γ.at else ones for p in paths], axis=1).T
        tensors[f"base_model.model.{module}.ia3_l"] = x
    names, inputs = (family.common_suffixes(m, c) for m in (modules, input_modules))
    if not {*inputs} <= {*names}:  # PEFT raises ValueError
        names, inputs = modules, input_modules
    return {
        "target_modules": names,
        "feedforward_modules": inputs,
        "fan_in_fan_out": family.conv1d,
    }, tensors


def read_ia3(file, names, saved: list[IA3]) -> list[Adaptation]:
    """Return [the (IA)³ in the file]; it is the `saved` one if the file can still be of that."""
    at, inputs = {}, []
    input_modules = names.named_by("feedforward_modules")
    for module in names.targets():
        paths = names.modules[module]
        (I, O), n = names.shape(module), len(paths)
        if module in input_modules:
            l = parameter(file.require(f"{module}.ia3_l", (1, I)).astype(names.model.dtype))
            ls, inputs = [l] * n, inputs + paths
        else:
            l = file.require(f"{module}.ia3_l", (O * n, 1)).T.astype(names.model.dtype)
            ls = [parameter(x.copy()) for x in np.split(l, n, axis=1)]
        at |= dict(zip(paths, ls))
    method = IA3(names.pattern(at), names.pattern(inputs) if inputs else r"(?!)")
    if saved:  # layers that it left out were written as ones
        absent = [path for path in at if not matches("targets", saved[0].targets, path)]
        if all((at[path].data == 1).all() for path in absent):
            method, at = saved[0], {path: l for path, l in at.items() if path not in absent}
    return [method.bind({path: {"l": l} for path, l in at.items()}, names.model)]
