"""What PEFT trains in full: norms (LN_TUNING), biases beside a LoRA, and `modules_to_save`."""

import numpy as np

from ...adaptation.adaptation import Adaptation, parameter
from ...adaptation.patterns import matches
from ...autograd.backend import host
from ...methods import BiasTuning, LayerNormTuning
from ..models.family import PARAMETERS
from .native import NotInPeft


def write_modules(γ: Adaptation, family, full, infix="", prefix="base_model.model."):
    """Return the names of the modules whose layers γ trains in full, and their tensors."""
    tensors, modules = {}, []
    for paths in family.fused_groups(γ.at):
        if not {*paths} <= {*γ.at}:
            raise NotInPeft
        modules.append(full(paths[0]))
        for name in γ.at[paths[0]]:
            x = np.concatenate([γ.at[path][name].data for path in paths], axis=-1)
            x = x.T if name == "W" and family.is_transposed(paths[0], γ.made_for.config) else x
            key = f"{prefix}{modules[-1]}.{infix}{PARAMETERS[name]}"
            tensors[key] = x if name == "W" else x[0]
    return modules, tensors


def read_modules(file, names, modules: list[str], infix="", tensors="Wgb") -> dict:
    """Return {path: {name: parameter}} of modules that are trained in full.

    tensors: the names of the tensors that are read.
    """
    at, family = {}, names.family
    for module in modules:
        paths = names.modules[module]
        for name, t in names.layers[paths[0]].tensors().items():
            if name not in tensors:
                continue
            turned = name == "W" and family.is_transposed(paths[0], names.model.config)
            shape = (*t.shape[:-1], t.shape[-1] * len(paths))
            key = f"{module}.{infix}{PARAMETERS[name]}"
            x = file.require(key, shape[::-1] if turned else shape)
            x = np.atleast_2d(x.T if turned else x).astype(names.model.dtype)
            for path, part in zip(paths, np.split(x, len(paths), axis=-1)):
                at.setdefault(path, {})[name] = parameter(part.copy())
    return at


def changed_embeddings(file, names) -> list[str]:
    """Return the token embedding and the head, if the file has other weights than the base.

    PEFT saves them, without being asked, if it takes the vocabulary for resized.
    """
    changed, listed = [], names.modules_to_save()
    for module, (path, *_) in names.modules.items():
        name = f"{module}.weight"
        if path in ("tokens", "head") and name in file and module not in listed:
            if equals_base(file, names, module, name):
                file.pop(name)
            else:
                changed.append(module)
    return changed


def equals_base(file, names, module, name) -> bool:
    """Return whether a tensor of the file is the weight matrix of the module in the base model."""
    path = names.modules[module][0]
    W = host(names.layers[path].W.data)
    W = W.T if names.family.is_transposed(path, names.model.config) else W
    return np.allclose(file.require(name, W.shape), W, atol=1e-6)


# -- norms


def write_norms(γ: Adaptation, family, full):
    """Return the configuration and tensors of trained norms."""
    modules, tensors = write_modules(γ, family, full, "ln_tuning_layers.")
    return {"target_modules": family.common_suffixes(modules, γ.made_for.config.layers)}, tensors


def read_norms(file, names, saved: list[LayerNormTuning]) -> list[Adaptation]:
    """Return [the trained norms in the file], by the `saved` method if there is one."""
    at = read_modules(file, names, names.targets(), "ln_tuning_layers.")
    method = saved[0] if saved else LayerNormTuning(names.pattern(at))
    return [method.bind(at, names.model)]


# -- biases


def write_biases(γ: Adaptation, loras: list[Adaptation], family, full):
    """Return PEFT's setting `bias`, and the tensors of biases that are trained beside LoRAs."""
    wrapped = {p for lora in loras for path in lora.at for p in family.fused_with(path)}
    inside = {f"base_model.model.{full(path)}" for path in wrapped}
    tensors = {}
    for key, x in write_modules(γ, family, full)[1].items():
        module = key.removesuffix(".bias")
        tensors[f"{module}.base_layer.bias" if module in inside else key] = x
    return "lora_only" if {*γ.at} <= wrapped else "all", tensors


def read_biases(file, names, saved: list[BiasTuning]) -> list[Adaptation]:
    """Return [the biases that are trained beside a LoRA], or [], by the `saved` method if any."""
    bias = names.settings.get("bias") or "none"
    for name in [n for n in file if n.endswith(("modules_to_save.bias", "original_module.bias"))]:
        file.pop(name)  # PEFT writes the head's bias once more, and its value before training
    file.pop("cls.predictions.decoder.bias", None)  # tied to cls.predictions.bias
    if bias == "none":
        return []
    excluded = names.modules_to_save()
    modules = names.targets(names.family.lora_targets) if bias == "lora_only" else names.modules
    modules = [m for m in modules if m not in excluded]
    if saved:  # it may have trained only some of them
        adapted = lambda path: matches("targets", saved[0].targets, path)
        modules = [m for m in modules if any(map(adapted, names.modules[m]))]
    for m in modules:
        if (x := file.pop(f"{m}.base_layer.bias", None)) is not None:
            file[f"{m}.bias"] = x
    at = read_modules(file, names, modules, tensors="b")
    method = saved[0] if saved else BiasTuning(names.pattern(at))
    return [method.bind(at, names.model)] if at else []
