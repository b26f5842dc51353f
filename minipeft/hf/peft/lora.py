"""PEFT's LORA: LoRA and DoRA.

A is (r, in) and B (out, r) in the files, (in, r) and (r, out) here.  The layers of one module, such
as q, k and v in GPT-2's c_attn, share one A in PEFT.  Here each may have its own: they are saved as
one A of a larger rank, and a B that is zero where an A does not belong to the layer.
"""

import math
import re
from dataclasses import replace

import numpy as np

from ...adaptation.adaptation import Adaptation, parameter
from ...adaptation.patterns import matches
from ...methods import DoRA, LoRA
from ...model.config import Config
from .native import NotInPeft, as_checkpoint_error

UNSUPPORTED = (  # settings that change what is computed
    "alora_invocation_tokens arrow_config kasa_config layer_replication lora_bias use_bdlora "
    "monteclora_config target_parameters trainable_token_indices use_qalora"
)
SUPPORTED = {name: (False, None, {}, []) for name in UNSUPPORTED.split()} | {
    "bias": ("none", "all", "lora_only"),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),  # others change the base
}


def is_embedding(path: str) -> bool:
    """Return whether the layer at a path is an embedding."""
    return path.rpartition(".")[2] in ("tokens", "positions", "types")


# -- writing


def write_lora(γs: list[Adaptation], family, full):
    """Return the configuration and tensors of LoRAs that adapt different layers."""
    method, c = γs[0].method, γs[0].made_for.config
    owners = {path: γ for γ in γs for path in γ.at}
    kinds = {(type(γ.method), γ.method.dropout) for γ in γs}
    if len(kinds) > 1 or len(owners) < sum(len(γ.at) for γ in γs):
        raise NotInPeft
    tensors, ranks, alphas, dora = {}, {}, {}, isinstance(method, DoRA)
    for paths in family.fused_groups(owners):
        adapted = {path: owners[path].at[path] for path in paths if path in owners}
        first = next(iter(adapted))
        γ = owners[first]
        if any(owners[path] is not γ for path in adapted) or dora and len(adapted) < len(paths):
            raise NotInPeft
        module, (A, B) = full(first), join(adapted, paths)
        ranks[module], alpha = A.shape[1], γ.method.scale * A.shape[1]
        alphas[module] = int(alpha) if alpha == int(alpha) else alpha
        key = f"base_model.model.{module}.lora_"
        form = "embedding_{}" if is_embedding(first) else "{}.weight"
        tensors |= {key + form.format("A"): A.T, key + form.format("B"): B.T}
        if dora:
            m = [adapted[path]["m"].data[0] for path in paths]
            tensors[f"{key}magnitude_vector"] = np.concatenate(m)
    r = min(ranks.values())
    alpha = alphas[min(ranks, key=ranks.get)]
    return {
        "r": r,
        "lora_alpha": alpha,
        "lora_dropout": method.dropout,
        "target_modules": family.common_suffixes(ranks, c),
        "rank_pattern": exceptions(ranks, r, family, c),
        "alpha_pattern": exceptions(alphas, alpha, family, c),
        "use_dora": dora,
        "fan_in_fan_out": family.conv1d,
        "bias": "none",
    }, tensors


def join(adapted: dict, paths: list[str]):
    """Return one A and one B for the layers of a module.

    The As stand side by side.  B has a block of rows for each A, and of columns for each layer.
    """
    As = list({id(ps["A"]): ps["A"] for ps in adapted.values()}.values())
    O = next(iter(adapted.values()))["B"].shape[1]

    def block(A, path):
        uses = path in adapted and adapted[path]["A"] is A
        return adapted[path]["B"].data if uses else np.zeros((A.shape[1], O))

    A = np.concatenate([A.data for A in As], axis=1)
    return A, np.block([[block(A, path) for path in paths] for A in As])


def exceptions(values: dict, default, family, c: Config) -> dict:
    """Return {ending: value} of the modules whose value is not the default."""
    others = dict.fromkeys(value for value in values.values() if value != default)
    modules = {value: [m for m in values if values[m] == value] for value in others}
    return {m: value for value, ms in modules.items() for m in family.common_suffixes(ms, c)}


# -- reading


def read_lora(file, names, saved: list[LoRA]) -> list[Adaptation]:
    """Return the LoRAs in the file: the `saved` ones if it can still be of those.

    Otherwise there is one for each rank and alpha.
    """
    s = names.settings
    s.check_supported(SUPPORTED)
    r, alpha = s.field("r", 8, int), s.field("lora_alpha", 8, float)
    cls = DoRA if s.field("use_dora", False, bool) else LoRA
    dropout, stabilised = s.field("lora_dropout", 0.0, float), s.field("use_rslora", False, bool)
    with as_checkpoint_error(s.path):
        default = cls(r, alpha, dropout, rank_stabilised=stabilised)
    modules = []
    for module in names.targets(names.family.lora_targets):
        rank = names.of_module(module, "rank_pattern", r, int)
        a = names.of_module(module, "alpha_pattern", alpha, float)
        method = replace(default, rank=rank, alpha=a)
        modules.append((method, names.modules[module], *read_module(file, names, module, method)))
    if saved and (γs := as_saved(modules, saved, names.model)):
        return γs
    groups, γs = {}, []
    for method, paths, A, B, m in modules:
        groups.setdefault(method, {}).update(split(paths, A, B, m))
    for method, at in groups.items():
        fused = len({id(ps["A"]) for ps in at.values()}) < len(at)
        method = replace(method, targets=names.pattern(at), fused=fused)
        γs.append(method.bind(at, names.model))
    return γs


def read_module(file, names, module: str, method: LoRA):
    """Return A (in, r), B (r, out), and m, one array for each layer, or None without DoRA."""
    paths, dtype, r = names.modules[module], names.model.dtype, method.rank
    (I, O), n = names.shape(module), len(paths)
    if r > max(I, O * n):
        raise names.error(f"rank {r} is larger than {module}, which is ({I}, {O * n})")
    form = "lora_embedding_{}" if is_embedding(paths[0]) else "lora_{}.weight"
    A = file.require(f"{module}.{form.format('A')}", (r, I)).T.astype(dtype)
    B = file.require(f"{module}.{form.format('B')}", (O * n, r)).T.astype(dtype)
    if not isinstance(method, DoRA):
        return A, B, None
    m = file.require(f"{module}.lora_magnitude_vector", (O * n,)).astype(dtype)
    return A, B, np.split(m, n)


def split(paths: list[str], A, B, m, saved: LoRA | None = None) -> dict | None:
    """Return {path: {"A", "B", and "m"}} of the layers of a module, which share A.

    If `saved` is given, undo `join` for the layers that it adapts; return None if that is not
    possible, because the tensors were changed since.
    """
    mine = [path for path in paths if matches("targets", saved.targets, path)] if saved else paths
    R, r = A.shape[1], saved.rank if saved else A.shape[1]
    if not mine or R not in (r, r * len(mine)):
        return None
    starts = dict(zip(mine, range(0, R, r) if R == r * len(mine) else [0] * len(mine)))
    columns = dict(zip(paths, np.split(B, len(paths), axis=1)))
    Bs = {path: columns[path][i : i + r] for path, i in starts.items()}
    if np.count_nonzero(B) != sum(map(np.count_nonzero, Bs.values())):
        return None
    As = {i: parameter(A[:, i : i + r].copy()) for i in starts.values()}
    at = {path: {"A": As[i], "B": parameter(Bs[path].copy())} for path, i in starts.items()}
    for path, x in zip(paths, m or ()):
        if path in at:
            at[path]["m"] = parameter(x[None].copy())
    return at


def as_saved(modules: list, saved: list[LoRA], model) -> list[Adaptation] | None:
    """Return the LoRAs that were saved, with the tensors of the file; None if it has changed."""
    ats = [{} for _ in saved]
    for method, paths, A, B, m in modules:
        owners = [
            i for i, γ in enumerate(saved) if any(matches("targets", γ.targets, p) for p in paths)
        ]
        at = split(paths, A, B, m, saved[owners[0]]) if owners else None
        if not at or not math.isclose(saved[owners[0]].scale, method.scale):
            return None
        ats[owners[0]].update(at)
    if not all(share_A(at) for γ, at in zip(saved, ats) if γ.fused):
        return None
    return [γ.bind(at, model) for γ, at in zip(saved, ats)]


def share_A(at: dict) -> bool:
    """Make the As of each attention one parameter; return False if they differ or are no fewer."""
    first = {}
    for path, ps in at.items():
        A = first.setdefault(re.sub(r"attn\.[qkv]$", "attn.qkv", path), ps["A"])
        if not np.array_equal(A.data, ps["A"].data):
            return False
        ps["A"] = A
    return len(first) < len(at)
