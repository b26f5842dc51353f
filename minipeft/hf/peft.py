"""PEFT's folders.  A method that PEFT lacks gets the same two files in our own names.

Those files say what is computed.  How the adaptation was made, and so how it is trained on, stands
in the metadata of the tensors, which PEFT neither reads nor keeps.

A (r, in), B (out, r) in the files and (in, r), (r, out) here; NV virtual tokens, D width, L layers
"""

import json
import math
import re
from dataclasses import asdict, replace

import numpy as np

from ..adapt import trained
from ..methods import Encoded, LoRA, PrefixTuning, Probe, PromptTuning
from ..mixture import Chain
from ..patterns import matches as search
from . import gpt2
from .folders import CheckpointError, Settings, Tensors, parsed, present
from .own import described, filled, has_encoder, made, named

# -- prompts and prefixes: prompt_embeddings (NV, …) has the rows of all places side by side


def places(kind, c):
    """Where the rows stand, and how many tensors at each: k0 v0 k1 v1 … of a prefix."""
    if kind == "PROMPT_TUNING":
        return ["tokens"], 1
    return [f"blocks.{n}.attn" for n in range(c.layers)], 2


def base_of(c):
    return {"token_dim": c.width, "num_layers": c.layers, "num_attention_heads": c.heads}


def rows_to(γ, kind):
    if [*γ.at] != places(kind, γ.base)[0] or kind == "PREFIX_TUNING" and not γ.shift_positions:
        return None
    P = np.concatenate([p.data for p in γ.parameters()], axis=1)
    config = {"num_virtual_tokens": len(P), "num_transformer_submodules": 1}
    return config | base_of(gpt2.held(γ.base)), {"prompt_embeddings": P}


def rows_from(settings, file, model, known):
    c, kind = model.config, settings["peft_type"]
    base = {name: (have,) for name, have in base_of(c).items()}
    settings.only(base, "; it was made for another base")
    settings.only({"num_transformer_submodules": (1,)})
    paths, each = places(kind, c)
    count = len(paths) * each
    length = settings.field("num_virtual_tokens", len(file.get("prompt_embeddings", ())), int)
    if length >= c.length and c.positions == "learned":
        told = f"num_virtual_tokens={length} leaves no room for a text: the model has {c.length}"
        raise CheckpointError(f"{settings.path}: {told} positions")
    P = file.need("prompt_embeddings", (length, count * c.width)).astype(model.dtype)
    parts = map(trained, map(np.copy, np.split(P, count, axis=1)))
    at = {path: [next(parts) for _ in range(each)] for path in paths}
    return replace(known or FORMATS[kind][0](), length=length).lay(at, model)


# -- LoRA: PEFT's fused c_attn has one A, which is q's, k's and v's

OTHERS = (  # settings that change what is computed, of which we know none
    "alora_invocation_tokens arrow_config kasa_config layer_replication lora_bias use_bdlora "
    "monteclora_config target_parameters trainable_token_indices use_dora use_qalora"
)
PLAIN = {name: (False, None, {}, []) for name in OTHERS.split()} | {
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),  # others change the base
}


def stacked(here, paths):
    """One A and B for layers side by side: each A has its rows of B, and each layer its columns."""
    As = list({id(A): A for A, _ in here.values()}.values())
    O = next(iter(here.values()))[1].shape[1]

    def block(A, path):
        its = path in here and here[path][0] is A
        return here[path][1].data if its else np.zeros((A.shape[1], O))

    A = np.concatenate([A.data for A in As], axis=1)
    return A, np.block([[block(A, path) for path in paths] for A in As])


def apart(A, B, paths, known):
    """{path: [A, B]}: one A for all; or as it was before `stacked`, if that LoRA is known."""
    R, columns = A.shape[1], dict(zip(paths, np.split(B, len(paths), axis=1)))
    r, targets = (known.rank, known.targets) if known else (R, "")
    own = [path for path in paths if search("targets", targets, path)]
    starts = dict(zip(own, range(0, R, r) if R == r * len(own) else [0] * len(own)))
    Bs = {path: columns[path][i : i + r] for path, i in starts.items()}
    whole = np.count_nonzero(B) == sum(map(np.count_nonzero, Bs.values()))
    if known and not (whole and R in (r, r * len(own))):
        return apart(A, B, paths, None)
    As = {i: trained(A[:, i : i + r].copy()) for i in starts.values()}
    return {path: [As[i], trained(Bs[path].copy())] for path, i in starts.items()}


def endings(names, layers):
    """The names without their block, if all blocks have them."""
    short = list(dict.fromkeys(name.split(".", 2)[2] for name in names))
    return short if len(short) * layers == len(names) else list(names)


def whole(x):
    return int(x) if x == int(x) else x


def lora_to(γ, kind):
    L, tensors, ranks = γ.base.layers, {}, {}
    modules = gpt2.modules(L)
    if not set(γ.at) <= set(sum(modules.values(), [])):
        return None
    gpt2.held(γ.base)
    for module, paths in modules.items():
        if here := {path: γ.at[path] for path in paths if path in γ.at}:
            A, B = stacked(here, paths)
            name, ranks[module] = f"base_model.model.transformer.{module}.lora_", A.shape[1]
            tensors |= {name + "A.weight": A.T, name + "B.weight": B.T}
    r, alpha = min(ranks.values()), lambda n: whole(γ.scale * n)
    more = {n: endings([m for m in ranks if ranks[m] == n], L) for n in {*ranks.values()} - {r}}
    config = {
        "r": r,
        "lora_alpha": alpha(r),
        "lora_dropout": γ.dropout,
        "target_modules": endings(ranks, L),
        "rank_pattern": {m: n for n, ms in more.items() for m in ms},
        "alpha_pattern": {m: alpha(n) for n, ms in more.items() for m in ms},
        "fan_in_fan_out": True,
        "bias": "none",
    }
    return config, tensors


def matches(settings, field, module, default=()):
    """PEFT's rule: a string is a pattern of the whole name, a list has endings of names."""
    said = settings.names(field, default)
    if isinstance(said, str):
        return said == "all-linear" or settings.matches(field, said, module)
    return any(f".{module}".endswith(f".{name}") for name in said)


def adapted(settings, module):
    layers, n = settings.get("layers_to_transform"), int(module.split(".")[2])
    return (
        matches(settings, "target_modules", module, ["c_attn"])
        and not matches(settings, "exclude_modules", module)
        and (layers in (None, []) or n in np.atleast_1d(layers))
    )


def of(module, settings, field, default, kind):
    """What rank_pattern or alpha_pattern says of the module."""
    said = Settings(settings.get(field) or {}, settings.path)
    key = next((k for k in said if said.matches(field, rf"(.*\.)?({k})", module)), None)
    return said.field(key, default, kind)


def lora_from(settings, file, model, known):
    settings.only(PLAIN)
    r, alpha = settings.field("r", 8, int), settings.field("lora_alpha", 8, float)
    stabilised = settings.field("use_rslora", False, bool)
    dropout = settings.field("lora_dropout", 0.0, float)
    γ = LoRA(r, alpha, dropout, rank_stabilised=stabilised)
    γ = known or γ
    at, layers, L = {}, dict(model.modules()), model.config.layers
    for name, paths in gpt2.modules(L).items():
        if not adapted(settings, module := f"transformer.{name}"):
            continue
        R, (I, O) = of(module, settings, "rank_pattern", r, int), layers[paths[0]].W.shape
        A = file.need(f"{name}.lora_A.weight", (R, I)).T.astype(model.dtype)
        B = file.need(f"{name}.lora_B.weight", (O * len(paths), R)).T.astype(model.dtype)
        scale = of(module, settings, "alpha_pattern", alpha, float) / (R**0.5 if stabilised else R)
        # γ's is the same in all layers: B makes up for a difference
        B = B if math.isclose(scale, γ.scale) else B * (scale / γ.scale)
        at |= apart(A, B, paths, known)
    if not known:
        γ.targets = f"({'|'.join(map(re.escape, endings(at, L)))})$"
        γ.fused = len({id(A) for A, _ in at.values()}) < len(at)
    return γ.lay(at, model)


# -- folders


def base_named(config, mark):
    """What tells one base from another: its configuration, and a mark of its numbers."""
    return asdict(config) | ({"weights": mark} if mark else {})


def of_this_base(file, model):
    """An error if the file was made for another base than the model; PEFT's do not say."""
    have = base_named(model.config, model.mark())
    want = parsed(file.path, file.metadata.get("base", "{}"))
    if other := {name: have.get(name) for name in want if want[name] != have.get(name)}:
        told = ", ".join(f"{name}={want[name]!r}, not {value!r}" for name, value in other.items())
        raise CheckpointError(f"{file.path} was made for another base: {told}; load it on that one")


FORMATS = {  # PEFT's name: our method, how it becomes theirs and theirs ours, where a head stands
    "PROMPT_TUNING": (PromptTuning, rows_to, rows_from, "base_model.score.weight"),
    "PREFIX_TUNING": (PrefixTuning, rows_to, rows_from, "base_model.score.weight"),
    "LORA": (LoRA, lora_to, lora_from, "base_model.model.score.weight"),
}


def with_head(γ):
    """A method and the Probe that trains a head beside it, or None."""
    two = isinstance(γ, Chain) and len(γ.methods) == 2 and type(γ.methods[1]) is Probe
    return γ.methods if two and [*γ.methods[1].at] == ["score"] else (γ, None)


def to_peft(γ):
    """Configuration, tensors and metadata: PEFT's if it has the method, or ours."""
    method, probe = with_head(γ)
    decodes = not γ.base.post  # the names of BERT's layers in PEFT are not written yet
    for kind, (c, to, _, score) in FORMATS.items():
        if decodes and type(method) is c and (found := to(method, kind)):
            config, tensors = found
            config |= {"peft_type": kind, "inference_mode": True, "task_type": "CAUSAL_LM"}
            if probe:
                config |= {"task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]}
                tensors[score] = probe.at["score"][0].data.T
            return config, tensors, {}
    return described(γ), *named(γ)


def files(γ):
    """What a folder of the adaptation holds."""
    γ.now()  # an error, if it is attached to nothing
    if any(p.ndim != 2 for p in γ.parameters()):
        raise CheckpointError("a stack of several users has no format: save each user's adaptation")
    record = {"minipeft": json.dumps(described(γ), default=lambda x: x.tolist())}
    record["base"] = json.dumps(base_named(γ.base, γ.mark))
    config, tensors, metadata = to_peft(γ.fold())
    found = {"reparametrization.safetensors": named(γ)} if has_encoder(γ) else {}
    return found | {
        "adapter_config.json": config,
        "adapter_model.safetensors": (tensors, metadata | record),
    }


def head_from(file, model):
    """The Probe with the head in the file."""
    if not hasattr(model, "score"):
        C = len(file["score.weight"])
        raise CheckpointError(
            f"{file.path} has a score.weight: load it beside Classifier(model, {C})"
        )
    probe = Probe().attach(model)
    W = file.need("score.weight", model.score.W.shape[::-1]).T
    return probe.map(lambda p: trained(W.astype(p.dtype)))


def read(folder, model, resume):
    settings = parsed(present(folder / "adapter_config.json"))
    file = Tensors(
        folder / "adapter_model.safetensors",
        lambda name: re.sub(r"^base_model\.(model\.)?(transformer\.)?", "", name),
    )
    of_this_base(file, model)
    record = file.metadata.get("minipeft")
    known = made(parsed(file.path, record)) if record else None
    kind = settings.field("peft_type", None, str)
    if kind in FORMATS:
        γ = from_peft(settings, kind, file, model, known)
    else:
        γ = filled(made(settings, FORMATS), file, model)
    if resume and known and has_encoder(known):
        return filled(known, Tensors(folder / "reparametrization.safetensors"), model)
    return γ


def from_peft(settings, kind, file, model, known):
    gpt2.held(model.config)
    method, _, made_of, _ = FORMATS[kind]
    known = known.methods[0] if isinstance(known, Chain) else known
    known = known.method if isinstance(known, Encoded) else known
    γ = made_of(settings, file, model, known if type(known) is method else None)
    if "score.weight" in file:
        γ = Chain(γ, head_from(file, model))
    file.end()
    return γ
