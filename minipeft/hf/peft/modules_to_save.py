"""What PEFT trains in full: norms (LN_TUNING), biases beside a LoRA, and `modules_to_save`."""

import re

import numpy as np

from ...adaptation.adaptation import Adaptation, parameter
from ...adaptation.patterns import matches
from ...autograd.backend import host
from ...methods import BiasTuning, LayerNormTuning
from ...storage.json import CheckpointError
from ..models.family import PARAMETERS
from .native import NotInPeft

COPY = re.compile(r"(.+)\.(modules_to_save|original_module)\.(.+)")  # name of a copy of a tensor


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


# -- copies, and weights of the base


def remove_copies(file, names) -> None:
    """Leave one of several tensors that PEFT writes for one; raise CheckpointError if they differ.

    A module that is trained in full may be there as X, as X.modules_to_save, as
    X.modules_to_save.default, and as X.original_module, before training, which has no effect.
    """
    tied, heads = names.family.tied_names, names.family.head_names.values()
    known = {f"{m}.{PARAMETERS[n]}" for m in names.modules for n in names.tensors(m)}
    known |= {*dict(tied).values(), *(f"{m}.{n}" for m in heads for n in PARAMETERS.values())}
    for name in [*file]:
        if found := COPY.fullmatch(name):
            front, kind, rest = found.groups()
            original = known & {f"{front}.{rest}", f"{front}.{rest.partition('.')[2]}"}
            if original and kind == "original_module":
                del file[name]
            elif original:
                rename(file, name, original.pop())
    for name, other in tied:  # the bias of BERT's word head has two names
        module, owner = (n.rpartition(".")[0] for n in (name, other))
        if other not in file or owner in names.modules or module not in names.modules:
            continue
        if names.is_saved(names.full_name(module)) and not names.is_saved(other):
            del file[other]  # the bias before training
        else:
            rename(file, other, name)


def rename(file, name, new):
    """Rename a tensor of the file; raise CheckpointError if another one has the new name."""
    x = file.pop(name)
    if not np.array_equal(file.setdefault(new, x), x):
        raise CheckpointError(f"{file.path}: {name} and {new} differ, but should be copies")


def read_base_weights(file, names) -> dict:
    """Return {path: {name: parameter}} of the base weights in the file that are not the model's.

    PEFT writes those of layers that are adapted, as X.base_layer, and those of the token embedding
    and the head.  When it reads the file, they replace the model's.
    """
    at, layers, saved = {}, names.layers, names.modules_to_save()
    for module, (path, *_) in names.modules.items():
        infixes = ["base_layer."] + [""] * (path in ("tokens", "head"))
        for infix in infixes if module not in saved else ():
            there = [n for n in names.tensors(module) if is_unread(file, module, infix, n)]
            for p, tensors in read_modules(file, names, [module], infix, there).items():
                at.setdefault(p, {}).update(tensors)
    if names.model.config.tied_head:
        tie(at, file, names)
    base = lambda path: {n: host(t.data) for n, t in layers[path].tensors().items()}
    same = lambda x, W: np.allclose(x.data.reshape(W.shape), W, atol=1e-6)
    changed = [p for p in at if not all(same(x, base(p)[n]) for n, x in at[p].items())]
    return {
        p: {n: parameter(np.atleast_2d(x)) for n, x in base(p).items()} | at[p] for p in changed
    }


def is_unread(file, module, infix, name):
    """Return whether the file has a tensor of a module that was not read."""
    key = f"{module}.{infix}{PARAMETERS[name]}"
    return key in file and key not in file.used


def tie(at, file, names):
    """Give the token embedding and a head that is tied to it the same base weights."""
    saved = names.modules_to_save()
    paths = {ps[0]: m for m, ps in names.modules.items() if m not in saved}
    paths = {path: paths[path] for path in ("tokens", "head") if path in paths}
    found = [at[path]["W"] for path in paths if "W" in at.get(path, ())]
    if len(found) == 2 and not np.array_equal(found[0].data, found[1].data):
        raise CheckpointError(
            f"{file.path}: the weights of {' and '.join(paths.values())} differ, but the model has "
            "them tied"
        )
    for path in paths if found else ():
        at.setdefault(path, {})["W"] = found[0]


# -- norms


def write_norms(γ: Adaptation, family, full):
    """Return the configuration and tensors of trained norms."""
    modules, tensors = write_modules(γ, family, full, "ln_tuning_layers.")
    return {"target_modules": family.common_suffixes(modules, γ.made_for.config)}, tensors


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
    if bias == "none":
        return []
    excluded = names.modules_to_save()
    modules = names.targets(names.family.lora_targets) if bias == "lora_only" else names.modules
    modules = [m for m in modules if m not in excluded]
    if saved:  # it may have trained only some of them
        adapted = lambda path: matches("targets", saved[0].targets, path)
        modules = [m for m in modules if any(map(adapted, names.modules[m]))]
    for m in modules:
        if f"{m}.base_layer.bias" in file:
            rename(file, f"{m}.base_layer.bias", f"{m}.bias")
    at = read_modules(file, names, modules, tensors="b")
    method = saved[0] if saved else BiasTuning(names.pattern(at))
    return [method.bind(at, names.model)] if at else []
