"""PEFT's LORA: LoRA and DoRA.

A (r, in) and B (out, r) in the files, (in, r) and (r, out) here.  Layers that PEFT has side by side
share one A: ours that have their own are stacked there.
"""

import math
import re
from dataclasses import replace

import numpy as np

from ...adaptation.adaptation import parameter
from ...adaptation.patterns import matches
from ...methods import DoRA, LoRA
from ...storage.json import CheckpointError
from .modules_to_save import same_as_base
from .native import OnlyOurs

OTHERS = (  # settings of LoRA that change what is computed, of which we know none
    "alora_invocation_tokens arrow_config kasa_config layer_replication lora_bias use_bdlora "
    "monteclora_config target_parameters trainable_token_indices use_qalora"
)
PLAIN = {name: (False, None, {}, []) for name in OTHERS.split()} | {
    "bias": ("none", "all", "lora_only"),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),  # others change the base
}
TABLES = "tokens", "positions", "types"


def stacked(here, paths):
    """One A and B for layers side by side: each A has its rows of B, and each layer its columns."""
    As = list({id(A): A for A, *_ in here.values()}.values())
    O = next(iter(here.values()))[1].shape[1]

    def block(A, path):
        its = path in here and here[path][0] is A
        return here[path][1].data if its else np.zeros((A.shape[1], O))

    A = np.concatenate([A.data for A in As], axis=1)
    return A, np.block([[block(A, path) for path in paths] for A in As])


def apart(A, B, ms, paths, known=None):
    """{path: [A, B, …]}: one A for all; or as it was before `stacked`, if that LoRA is known."""
    own = [path for path in paths if matches("targets", known.targets, path)] if known else paths
    columns = dict(zip(paths, np.split(B, len(paths), axis=1)))
    R, r = A.shape[1], known.rank if known else A.shape[1]
    if not own or R not in (r, r * len(own)):
        return None
    starts = dict(zip(own, range(0, R, r) if R == r * len(own) else [0] * len(own)))
    Bs = {path: columns[path][i : i + r] for path, i in starts.items()}
    if np.count_nonzero(B) != sum(map(np.count_nonzero, Bs.values())):
        return None
    As = {i: parameter(A[:, i : i + r].copy()) for i in starts.values()}
    m = dict(zip(paths, ms))
    return {path: [As[i], parameter(Bs[path].copy()), *m[path]] for path, i in starts.items()}


def whole(x):
    return int(x) if x == int(x) else x


def to_peft(γs, family, full):
    """The configuration and tensors of LoRAs of disjoint layers."""
    at = {path: (γ.method, [*added.values()]) for γ in γs for path, added in γ.at.items()}
    tensors, ranks, scales, L = {}, {}, {}, γs[0].made_for.config.layers
    dora, kinds = isinstance(γs[0].method, DoRA), {(type(γ.method), γ.method.dropout) for γ in γs}
    if len(kinds) > 1 or len(at) < sum(len(γ.at) for γ in γs):
        raise OnlyOurs
    for paths in family.layers_of(at):
        here = {path: at[path][1] for path in paths if path in at}
        first = next(iter(here))
        if len({id(at[path][0]) for path in here}) > 1 or dora and len(here) < len(paths):
            raise OnlyOurs
        A, B = stacked(here, paths)
        module = full(first)
        ranks[module], scales[module] = A.shape[1], at[first][0].scale
        key = f"base_model.model.{module}.lora_"
        form = "embedding_{}" if first in TABLES else "{}.weight"
        tensors |= {key + form.format("A"): A.T, key + form.format("B"): B.T}
        if dora:
            m = [here[path][2].data[0] for path in paths]
            tensors[f"{key}magnitude_vector"] = np.concatenate(m)
    alphas = {m: whole(scales[m] * ranks[m]) for m in ranks}
    r, alpha = min(ranks.values()), alphas[min(ranks, key=ranks.get)]
    return {
        "r": r,
        "lora_alpha": alpha,
        "lora_dropout": γs[0].method.dropout,
        "target_modules": family.endings(ranks, L),
        "rank_pattern": patterned(ranks, r, family, L),
        "alpha_pattern": patterned(alphas, alpha, family, L),
        "use_dora": dora,
        "fan_in_fan_out": family.conv,
        "bias": "none",
    }, tensors


def patterned(said, usual, family, layers):
    """{ending: value} of the modules whose value is another than the usual one."""
    more = {v: [m for m in said if said[m] == v] for v in {*said.values()} - {usual}}
    return {m: v for v, ms in more.items() for m in family.endings(ms, layers)}


def from_peft(file, theirs, known):
    """[LoRA, …]: one for each rank and scale; as they are known, if the file still is so."""
    s = theirs.settings
    s.only(PLAIN)
    r, alpha = s.field("r", 8, int), s.field("lora_alpha", 8, float)
    stabilised, dora = s.field("use_rslora", False, bool), s.field("use_dora", False, bool)
    dropout = s.field("lora_dropout", 0.0, float)
    usual, found = (DoRA if dora else LoRA)(r, alpha, dropout, rank_stabilised=stabilised), []
    for module in theirs.targets(theirs.family.queries):
        paths = theirs.modules[module]
        R = theirs.of(module, "rank_pattern", r, int)
        a = theirs.of(module, "alpha_pattern", alpha, float)
        A, B, ms = matrices(file, theirs, module, R, dora)
        found.append((paths, A, B, ms, R, a))
    scale = lambda R, a: a / (R**0.5 if stabilised else R)
    if known and (γs := as_known(found, known, scale, theirs)):
        return γs
    groups = {}
    for paths, A, B, ms, R, a in found:
        groups.setdefault((R, a), {}).update(apart(A, B, ms, paths))
    γs = []
    for (R, a), at in groups.items():
        fused = len({id(A) for A, *_ in at.values()}) < len(at)
        γ = replace(usual, rank=R, alpha=a, targets=theirs.pattern(at), fused=fused)
        γs.append(bound(γ, at, theirs.model))
    return γs


def as_known(found, known, scale, theirs):
    """The LoRAs that were saved, with what is in the file; None if it is no longer theirs."""
    ats = {id(γ): {} for γ in known}
    for paths, A, B, ms, R, a in found:
        owners = [γ for γ in known if any(matches("targets", γ.targets, p) for p in paths)]
        at = apart(A, B, ms, paths, owners[0]) if owners else None
        if not at or not math.isclose(owners[0].scale, scale(R, a)):
            return None
        ats[id(owners[0])].update(at)
    for γ in known:
        if γ.fused and not share(ats[id(γ)]):
            return None
    return [bound(γ, ats[id(γ)], theirs.model) for γ in known]


def bound(γ, at, model):
    return γ.bind({path: dict(zip("ABm", ps)) for path, ps in at.items()}, model)


def share(at):
    """Make the As of each attention one, if they are equal; did that do?"""
    first = {}
    for path, added in at.items():
        A = first.setdefault(re.sub(r"attn\.[qkv]$", "attn.qkv", path), added[0])
        if not np.array_equal(A.data, added[0].data):
            return False
        added[0] = A
    return len(first) < len(at)


def matrices(file, theirs, module, R, dora):
    """A (in, r), B (r, out) and, of DoRA, what each of the paths has of the magnitudes."""
    paths, dtype = theirs.modules[module], theirs.model.dtype
    (I, O), n = theirs.shape(module), len(paths)
    if R > max(I, O * n):
        raise CheckpointError(
            f"{theirs.settings.path}: rank {R} is beyond {module}, ({I}, {O * n})"
        )
    form = "lora_embedding_{}" if paths[0] in TABLES else "lora_{}.weight"
    A = file.need(f"{module}.{form.format('A')}", (R, I)).T.astype(dtype)
    B = file.need(f"{module}.{form.format('B')}", (O * n, R)).T.astype(dtype)
    unchanged(file, theirs, module)
    if not dora:
        return A, B, [()] * n
    m = file.need(f"{module}.lora_magnitude_vector", (O * n,)).astype(dtype)
    return A, B, [(parameter(x[None].copy()),) for x in np.split(m, n)]


def unchanged(file, theirs, module):
    """PEFT saves embeddings and heads of words beside what adapts them: they must be the base's."""
    name = f"{module}.base_layer.weight"
    if name in file and not same_as_base(file, theirs, module, name):
        raise CheckpointError(f"{file.path}: {name} is not the model's: it is of another base")
