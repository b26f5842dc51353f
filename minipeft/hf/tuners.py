"""What PEFT changes in layers: LoRA and DoRA, (IA)³, norms, biases, and modules kept whole.

Their layers are `modules` of ours that lie side by side: GPT-2's c_attn is q, k and v, so there one
A is shared, and B, scales and biases are split.  A (r, in), B (out, r) in the files; here (in, r)
and (r, out).
"""

import math
import re
from dataclasses import replace

import numpy as np

from ..adapt import trained
from ..backend import host
from ..methods import IA3, BiasTuning, DoRA, LayerNormTuning, LoRA
from ..patterns import matches
from .family import PARAMETERS
from .folders import CheckpointError, Settings, brief
from .own import OnlyOurs

OTHERS = (  # settings of LoRA that change what is computed, of which we know none
    "alora_invocation_tokens arrow_config kasa_config layer_replication lora_bias use_bdlora "
    "monteclora_config target_parameters trainable_token_indices use_qalora"
)
PLAIN = {name: (False, None, {}, []) for name in OTHERS.split()} | {
    "bias": ("none", "all", "lora_only"),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),  # others change the base
}


class Theirs:
    """A model in their names: {module: [our paths]}, and what a configuration says of them."""

    def __init__(self, model, family, settings):
        self.layers, self.family, self.settings = dict(model.modules()), family, settings
        self.network, self.model = type(model), model
        self.modules = {}
        for path, layer in self.layers.items():
            if layer.tensors():
                self.modules.setdefault(family.theirs(path, self.network), []).append(path)
        self.head = family.scores.get(self.network)

    def whole(self, module):
        """What it may be called in all of their network."""
        return [before + module for before in ("", self.family.trunk, "transformer.")]

    def fits(self, module, said, field):
        """Does a list of endings, or a pattern of whole names, name the module?"""
        whole = self.whole(module)
        if isinstance(said, str):
            return any(self.settings.matches(field, said, name) for name in whole)
        return any(f".{name}".endswith(f".{ending}") for name in whole for ending in said)

    def matrix(self, module):
        """Is it one of those that "all-linear" names?"""
        path = self.modules[module][0]
        return self.family.linear(path) and path not in ("head", "score")

    def shape(self, module):
        """(in, out) of its matrix."""
        layer = self.layers[self.modules[module][0]]
        if not hasattr(layer, "shape"):
            raise CheckpointError(f"{self.settings.path}: {module} has no matrix to change")
        return layer.shape

    def named(self, field, default=()):
        """The modules that a field names."""
        said = self.settings.names(field, default, pattern=True)
        if said == "all-linear":
            return [m for m in self.modules if self.matrix(m)]
        return [m for m in self.modules if self.fits(m, said, field)]

    def targets(self, default=()):
        """The modules that are adapted."""
        out = {*self.named("exclude_modules"), *self.saved()}
        layers = self.layers_to_transform()
        found = [
            m
            for m in self.named("target_modules", default)
            if m not in out and (not layers or self.number(m) in layers)
        ]
        if not found:
            said = self.settings.get("target_modules")
            raise CheckpointError(
                f"{self.settings.path}: no layer matches target_modules={said!r:.80}; the model "
                f"has {', '.join(self.modules)}"
            )
        return found

    def layers_to_transform(self):
        said = self.settings.get("layers_to_transform")
        layers = [] if said is None else said if isinstance(said, list) else [said]
        if not all(type(n) is int for n in layers):
            told = f"layers_to_transform={brief(said)} must be numbers of layers"
            raise CheckpointError(f"{self.settings.path}: {told}")
        return layers

    def number(self, module):
        block = re.match(rf"{re.escape(self.family.blocks)}\.(\d+)\.", module)
        return int(block[1]) if block else None

    def saved(self):
        """The modules that are kept whole, the head among them."""
        names = self.settings.names("modules_to_save")
        ends = lambda module: any(m.endswith(n) for m in self.whole(module) for n in names)
        return [m for m in self.modules if m == self.head or ends(m)]

    def of(self, module, field, default, kind):
        """What rank_pattern or alpha_pattern says of a module."""
        said = Settings(self.settings.get(field) or {}, self.settings.path)
        key = next((k for k in said if self.fits(module, rf"(.*\.)?(?:{k})", field)), None)
        return said.field(key, default, kind)

    def pattern(self, paths):
        """`targets` of these paths and no others: without their blocks, if that is so."""
        short = dict.fromkeys(re.sub(r"^blocks\.\d+\.", "", path) for path in paths)
        found = f"({'|'.join(map(re.escape, short))})$"
        if {p for p in self.layers if re.search(found, p)} == {*paths}:
            return found
        return f"^({'|'.join(map(re.escape, paths))})$"


# -- LoRA


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
    As = {i: trained(A[:, i : i + r].copy()) for i in starts.values()}
    m = dict(zip(paths, ms))
    return {path: [As[i], trained(Bs[path].copy()), *m[path]] for path, i in starts.items()}


def whole(x):
    return int(x) if x == int(x) else x


def lora_to(γs, family, full):
    """The configuration and tensors of LoRAs of disjoint layers."""
    at = {path: (γ, added) for γ in γs for path, added in γ.at.items()}
    tensors, ranks, scales, L = {}, {}, {}, γs[0].base.layers
    dora, kinds = isinstance(γs[0], DoRA), {(type(γ), γ.dropout) for γ in γs}
    if len(kinds) > 1 or len(at) < sum(len(γ.at) for γ in γs):
        raise OnlyOurs
    for first in at:
        paths = family.beside(first)
        if first != next(path for path in paths if path in at):
            continue
        here = {path: at[path][1] for path in paths if path in at}
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
        "lora_dropout": γs[0].dropout,
        "target_modules": family.endings(ranks, L),
        "rank_pattern": patterned(ranks, r, family, L),
        "alpha_pattern": patterned(alphas, alpha, family, L),
        "use_dora": dora,
        "fan_in_fan_out": family.conv,
        "bias": "none",
    }, tensors


TABLES = "tokens", "positions", "types"


def patterned(said, usual, family, layers):
    """{ending: value} of the modules whose value is another than the usual one."""
    more = {v: [m for m in said if said[m] == v] for v in {*said.values()} - {usual}}
    return {m: v for v, ms in more.items() for m in family.endings(ms, layers)}


def lora_from(file, theirs, known):
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
        γs.append(γ.lay(at, theirs.model))
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
        if γ.fused and not γ.share(ats[id(γ)]):
            return None
    return [γ.lay(ats[id(γ)], theirs.model) for γ in known]


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
    return A, B, [(trained(x[None].copy()),) for x in np.split(m, n)]


def unchanged(file, theirs, module):
    """PEFT saves some adapted embeddings beside what is added to them: they must be the base's."""
    name, W = f"{module}.base_layer.weight", theirs.layers[theirs.modules[module][0]].W.data
    if name in file and not np.allclose(file.need(name, W.shape), host(W), atol=1e-6):
        raise CheckpointError(f"{file.path}: {name} is not the model's: it is of another base")


# -- (IA)³


def ia3_to(γ, family, full):
    """The configuration and tensors of an (IA)³; of layers side by side those left out have 1."""
    tensors, modules, inputs, L = {}, [], [], γ.base.layers
    for first in γ.at:
        paths = family.beside(first)
        if first != next(path for path in paths if path in γ.at):
            continue
        module, (l,) = full(first), γ.at[first]
        if matches("inputs", γ.inputs, first):
            if len({id(γ.at[p][0]) if p in γ.at else p for p in paths}) > 1:
                raise OnlyOurs
            inputs.append(module)
            x = l.data
        else:
            ls = [γ.at[p][0].data if p in γ.at else np.ones_like(l.data) for p in paths]
            x = np.concatenate(ls, axis=1).T
        modules.append(module)
        tensors[f"base_model.model.{module}.ia3_l"] = x
    return {
        "target_modules": family.endings(modules, L),
        "feedforward_modules": family.endings(inputs, L),
        "fan_in_fan_out": family.conv,
    }, tensors


def ia3_from(file, theirs, known):
    at, inputs = {}, []
    fed = theirs.named("feedforward_modules")
    for module in theirs.targets():
        paths = theirs.modules[module]
        (I, O), n = theirs.shape(module), len(paths)
        if module in fed:
            l = trained(file.need(f"{module}.ia3_l", (1, I)).astype(theirs.model.dtype))
            ls, inputs = [l] * n, inputs + paths
        else:
            l = file.need(f"{module}.ia3_l", (O * n, 1)).T.astype(theirs.model.dtype)
            ls = [trained(x.copy()) for x in np.split(l, n, axis=1)]
        at |= dict(zip(paths, ls))
    γ = IA3(theirs.pattern(at), theirs.pattern(inputs) if inputs else r"(?!)")
    if known:  # what it left out was written as 1
        out = [path for path in at if not matches("targets", known[0].targets, path)]
        if all((at[path].data == 1).all() for path in out):
            γ, at = known[0], {path: l for path, l in at.items() if path not in out}
    return [γ.lay({path: [l] for path, l in at.items()}, theirs.model)]


# -- layers and biases that are kept whole


def whole_to(γ, family, full, between=""):
    """The tensors of layers that are kept whole, and the modules that they are of."""
    tensors, modules = {}, []
    for path in γ.at:
        paths = family.beside(path)
        if not {*paths} <= {*γ.at}:
            raise OnlyOurs
        if path != paths[0]:
            continue
        modules.append(full(path))
        for name, *ps in zip(γ.names(path), *(γ.at[p] for p in paths)):
            x = np.concatenate([p.data for p in ps], axis=-1)
            x = x.T if name == "W" and family.turned(path, γ.base) else x
            key = f"base_model.model.{modules[-1]}.{between}{PARAMETERS[name]}"
            tensors[key] = x if name == "W" else x[0]
    return modules, tensors


def whole_from(file, model, family, modules, between="", of="Wgb"):
    """{path: its tensors} of modules {name: paths} that are kept whole; of: these names alone."""
    at, layers = {}, dict(model.modules())
    for module, paths in modules.items():
        for name, t in layers[paths[0]].tensors().items():
            if name not in of:
                continue
            turned = name == "W" and family.turned(paths[0], model.config)
            shape = (*t.shape[:-1], t.shape[-1] * len(paths))
            key = f"{module}.{between}{PARAMETERS[name]}"
            x = file.need(key, shape[::-1] if turned else shape)
            x = np.atleast_2d(x.T if turned else x).astype(model.dtype)
            for path, part in zip(paths, np.split(x, len(paths), axis=-1)):
                at.setdefault(path, []).append(trained(part.copy()))
    return at


def norms_to(γ, family, full):
    modules, tensors = whole_to(γ, family, full, "ln_tuning_layers.")
    return {"target_modules": family.endings(modules, γ.base.layers)}, tensors


def norms_from(file, theirs, known):
    modules = {m: theirs.modules[m] for m in theirs.targets()}
    at = whole_from(file, theirs.model, theirs.family, modules, "ln_tuning_layers.")
    γ = known[0] if known else LayerNormTuning(theirs.pattern(at))
    return [γ.lay(at, theirs.model)]


def biases_to(γ, loras, family, full):
    """PEFT's `bias`, and the tensors."""
    wrapped = {p for m in loras for path in m.at for p in family.beside(path)}
    inside = {f"base_model.model.{full(path)}" for path in wrapped}
    tensors = {
        (f"{key[:-5]}.base_layer.bias" if key[:-5] in inside else key): x
        for key, x in whole_to(γ, family, full)[1].items()
    }
    return "lora_only" if {*γ.at} <= wrapped else "all", tensors


def biases_from(file, theirs, known):
    """The biases that PEFT's LoRA trains beside itself."""
    kind, wrapped = theirs.settings.get("bias") or "none", theirs.targets(theirs.family.queries)
    for name in [n for n in file if n.endswith(("modules_to_save.bias", "original_module.bias"))]:
        file.pop(name)  # PEFT has the head's once more, and as it was before
    file.pop("cls.predictions.decoder.bias", None)  # tied
    if kind == "none":
        return []
    kept = theirs.saved()
    names = [m for m in (wrapped if kind == "lora_only" else theirs.modules) if m not in kept]
    if known:  # then it may be some of them
        own = lambda path: matches("targets", known[0].targets, path)
        names = [m for m in names if any(map(own, theirs.modules[m]))]
    for m in names:
        if (x := file.pop(f"{m}.base_layer.bias", None)) is not None:
            file[f"{m}.bias"] = x
    modules = {m: theirs.modules[m] for m in names}
    at = whole_from(file, theirs.model, theirs.family, modules, of="b")
    γ = known[0] if known else BiasTuning(theirs.pattern(at))
    return [γ.lay(at, theirs.model)] if at else []
