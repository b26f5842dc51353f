"""What PEFT keeps whole: norms (LN_TUNING), the biases beside a LoRA, `modules_to_save`."""

import numpy as np

from ...adaptation.adaptation import parameter
from ...adaptation.patterns import matches
from ...autograd.backend import host
from ...methods import BiasTuning, LayerNormTuning
from ..models.family import PARAMETERS
from .native import OnlyOurs


def whole_to(γ, family, full, between="", before="base_model.model."):
    """The tensors of layers that are kept whole, and the modules that they are of."""
    tensors, modules = {}, []
    for paths in family.fused_groups(γ.at):
        if not {*paths} <= {*γ.at}:
            raise OnlyOurs
        modules.append(full(paths[0]))
        for name in γ.at[paths[0]]:
            x = np.concatenate([γ.at[path][name].data for path in paths], axis=-1)
            x = x.T if name == "W" and family.is_transposed(paths[0], γ.made_for.config) else x
            key = f"{before}{modules[-1]}.{between}{PARAMETERS[name]}"
            tensors[key] = x if name == "W" else x[0]
    return modules, tensors


def whole_from(file, theirs, modules, between="", of="Wgb"):
    """{path: its tensors} of modules that are kept whole; of: of these names alone."""
    at, dtype = {}, theirs.model.dtype
    for module in modules:
        paths = theirs.modules[module]
        for name, t in theirs.layers[paths[0]].tensors().items():
            if name not in of:
                continue
            turned = name == "W" and theirs.family.is_transposed(paths[0], theirs.model.config)
            shape = (*t.shape[:-1], t.shape[-1] * len(paths))
            key = f"{module}.{between}{PARAMETERS[name]}"
            x = file.require(key, shape[::-1] if turned else shape)
            x = np.atleast_2d(x.T if turned else x).astype(dtype)
            for path, part in zip(paths, np.split(x, len(paths), axis=-1)):
                at.setdefault(path, {})[name] = parameter(part.copy())
    return at


def embeddings(file, theirs):
    """Those of words, and their heads, that PEFT has saved beside, and that are not the base's.

    It does so if asked to, or if it takes them for resized.
    """
    found = []
    for module, (path, *_) in theirs.modules.items():
        name = f"{module}.weight"
        if path in ("tokens", "head") and name in file and module not in theirs.saved():
            if same_as_base(file, theirs, module, name):
                file.pop(name)
            else:
                found.append(module)
    return found


def same_as_base(file, theirs, module, name):
    path = theirs.modules[module][0]
    W = host(theirs.layers[path].W.data)
    W = W.T if theirs.family.is_transposed(path, theirs.model.config) else W
    return np.allclose(file.require(name, W.shape), W, atol=1e-6)


def norms_to(γ, family, full):
    modules, tensors = whole_to(γ, family, full, "ln_tuning_layers.")
    return {"target_modules": family.common_suffixes(modules, γ.made_for.config.layers)}, tensors


def norms_from(file, theirs, known):
    at = whole_from(file, theirs, theirs.targets(), "ln_tuning_layers.")
    γ = known[0] if known else LayerNormTuning(theirs.pattern(at))
    return [γ.bind(at, theirs.model)]


def biases_to(γ, loras, family, full):
    """PEFT's `bias`, and the tensors."""
    wrapped = {p for m in loras for path in m.at for p in family.fused_with(path)}
    inside = {f"base_model.model.{full(path)}" for path in wrapped}
    tensors = {
        (f"{key[:-5]}.base_layer.bias" if key[:-5] in inside else key): x
        for key, x in whole_to(γ, family, full)[1].items()
    }
    return "lora_only" if {*γ.at} <= wrapped else "all", tensors


def biases_from(file, theirs, known):
    """The biases that PEFT's LoRA trains beside itself."""
    kind = theirs.settings.get("bias") or "none"
    for name in [n for n in file if n.endswith(("modules_to_save.bias", "original_module.bias"))]:
        file.pop(name)  # PEFT has the head's once more, and as it was before
    file.pop("cls.predictions.decoder.bias", None)  # tied
    if kind == "none":
        return []
    kept = theirs.saved()
    there = theirs.targets(theirs.family.lora_targets) if kind == "lora_only" else theirs.modules
    names = [m for m in there if m not in kept]
    if known:  # then it may be some of them
        own = lambda path: matches("targets", known[0].targets, path)
        names = [m for m in names if any(map(own, theirs.modules[m]))]
    for m in names:
        if (x := file.pop(f"{m}.base_layer.bias", None)) is not None:
            file[f"{m}.bias"] = x
    at = whole_from(file, theirs, names, of="b")
    γ = known[0] if known else BiasTuning(theirs.pattern(at))
    return [γ.bind(at, theirs.model)] if at else []
