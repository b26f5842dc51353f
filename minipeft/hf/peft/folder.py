"""Folders of adaptations, in PEFT's format, or in minipeft's own for what PEFT does not have.

adapter_config.json and adapter_model.safetensors say what is computed.  The metadata of the latter,
which PEFT ignores, says more: `minipeft` is the method, `base` identifies the base model and the
pool of a Classifier, and `network` is the class of the model.  reparametrization.safetensors has
the reparametrisation network, which only further training needs.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...adaptation.adaptation import Adaptation
from ...adaptation.chain import Chain, MethodChain
from ...adaptation.each import Each
from ...adaptation.merge import fold
from ...autograd.nn import Fingerprint, Module, same_weights
from ...methods import (
    IA3,
    BiasTuning,
    DoRA,
    FullFineTuning,
    LayerNormTuning,
    LoRA,
    MultitaskPrompt,
    PrefixTuning,
    Probe,
    PromptTuning,
    PseudoTokens,
    PTuningV2,
)
from ...model.bert import Encoder
from ...model.encoder_decoder import EncoderDecoder
from ...model.heads import (
    Classifier,
    Features,
    Head,
    SpanClassifier,
    SpanHead,
    TokenClassifier,
    TokenHead,
)
from ...model.transformer import Decoder
from ...storage.json import CheckpointError, parse_json, read_json
from ...storage.renames import stored_name
from ...storage.safetensors import SafetensorsFile, named_arrays
from ..models import family_of
from ..models.family import DEFAULT_POOL
from .ia3 import read_ia3, write_ia3
from .lora import read_lora, write_lora
from .modules_to_save import (
    read_base_weights,
    read_biases,
    read_modules,
    read_norms,
    remove_copies,
    write_biases,
    write_modules,
    write_norms,
)
from .naming import WITH_HEAD, PeftNames, with_whole_head
from .native import (
    NotInPeft,
    as_checkpoint_error,
    check_norms,
    flatten,
    has_network,
    method_from_json,
    method_to_json,
    read_parameters,
)
from .prompts import read_prompt, write_prompt

ADAPTER = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
NETWORK = "reparametrization.safetensors"
PROMPT_LEARNING = {
    "PROMPT_TUNING": (PromptTuning,),
    "P_TUNING": (PseudoTokens,),
    "PREFIX_TUNING": (PrefixTuning, PTuningV2),
    "MULTITASK_PROMPT_TUNING": (MultitaskPrompt,),
}
TUNERS = {"LORA": (LoRA, DoRA), "IA3": (IA3,), "LN_TUNING": (LayerNormTuning,)}
PEFT_TYPES = PROMPT_LEARNING | TUNERS  # PEFT's name: our methods
BESIDE = FullFineTuning, Probe  # what may come after them in a Chain, in this order
BESIDE_LORA = BiasTuning, *BESIDE
READERS: dict[str, Callable] = {"LORA": read_lora, "IA3": read_ia3, "LN_TUNING": read_norms}
TASK_TYPES = {
    Decoder: "CAUSAL_LM",
    EncoderDecoder: "SEQ_2_SEQ_LM",
    Classifier: "SEQ_CLS",
    Head: "SEQ_CLS",
    TokenClassifier: "TOKEN_CLS",
    TokenHead: "TOKEN_CLS",
    SpanClassifier: "QUESTION_ANS",
    SpanHead: "QUESTION_ANS",
    Features: "FEATURE_EXTRACTION",
    Encoder: "FEATURE_EXTRACTION",
}


# -- writing


def adaptation_files(γ: Adaptation) -> dict:
    """Return {file name: JSON, or (arrays, metadata)} of the folder of an adaptation."""
    if γ.made_for is None:
        raise CheckpointError(f"{γ!r} has no parameters to save")
    if contains_each(γ):
        raise CheckpointError("an Each can't be saved: save each of its parts")
    if any(m.users and type(m.method) is not MultitaskPrompt for m in γ.leaves()):
        raise CheckpointError(
            "a bank of several users can't be saved: save the adaptation of each, γ.user(i)"
        )
    folded = fold(γ)
    record = {
        "minipeft": json.dumps(method_to_json(γ.method)),
        "base": json.dumps(base_fields(replace(γ.made_for, pool=pool_of(folded)))),
        "network": network_of(folded).__name__,
    }
    config, arrays, metadata = to_folder_format(folded)
    if γ.made_for.folder:
        config |= {"base_model_name_or_path": γ.made_for.folder}
    files = {CONFIG: config, ADAPTER: (arrays, metadata | record)}
    return files | ({NETWORK: named_arrays(γ, frozen=True)} if has_network(γ.method) else {})


def contains_each(γ: Adaptation) -> bool:
    """Return whether an adaptation, or a part of it, is an Each."""
    return isinstance(γ, Each) or any(map(contains_each, getattr(γ, "parts", ())))


def base_fields(base: Fingerprint) -> dict:
    """Return what tells one base model from another: its configuration, a checksum, a pool."""
    more = {name: x for name in ("weights", "pool") if (x := getattr(base, name))}
    return json.loads(json.dumps(vars(base.config) | more))


def network_of(γ: Adaptation) -> type:
    """Return the class of the model that γ is for; if γ has a head, the model with that head."""
    heads = [m.made_for.network for m in γ.leaves() if type(m.method) is Probe]
    return heads[0] if heads else γ.made_for.network


def pool_of(γ: Adaptation) -> str | None:
    """Return the pool of the Classifier that γ, or a part of it, is for, None without one."""
    return next((m.made_for.pool for m in γ.leaves() if m.made_for and m.made_for.pool), None)


def to_folder_format(γ: Adaptation):
    """Return configuration, arrays and metadata, in PEFT's format if it has the method."""
    leaves = [*γ.leaves()]
    for peft_type, classes in PEFT_TYPES.items():
        n = next((i for i, m in enumerate(leaves) if type(m.method) not in classes), len(leaves))
        if n:
            with suppress(NotInPeft):
                return *to_peft(peft_type, leaves[:n], leaves[n:], network_of(γ)), {}
    return method_to_json(γ.method), *named_arrays(γ, frozen=True)


def to_peft(peft_type: str, mains: list[Adaptation], others: list[Adaptation], network: type):
    """Return configuration and arrays of PEFT's folder for `mains`, and `others` after them."""
    c, prompt = mains[0].made_for.config, peft_type in PROMPT_LEARNING
    family, task = family_of(c), TASK_TYPES.get(network)
    if any(m.made_for.pool == "attention" for m in (*mains, *others)):
        raise NotInPeft
    biases, full_layers, probe = check_others(peft_type, mains, others)
    in_head = probe and task == "SEQ_CLS" and family.head_pooler  # PEFT saves all of the head
    if in_head and not (full_layers and full_layers.adapts("pooler")):
        raise NotInPeft
    full = lambda path: family.full_hf_name(path, network, c)
    task = None if task in WITH_HEAD and not probe else task
    pool = pool_of(probe) if probe else None
    if prompt and task is None or pool not in (None, DEFAULT_POOL[c.causal]):
        raise NotInPeft
    if prompt:
        config, arrays = write_prompt(mains[0], peft_type)
    elif peft_type == "LORA":
        config, arrays = write_lora(mains, family, full)
    else:
        write = write_ia3 if peft_type == "IA3" else write_norms
        config, arrays = write(mains[0], family, full)
    config |= {"peft_type": peft_type, "inference_mode": True, "task_type": task}
    saved, prefix = [], "base_model." if prompt else "base_model.model."
    if biases:
        config["bias"], more = write_biases(biases, mains, family, full)
        arrays |= more
    if full_layers:
        saved, more = write_modules(full_layers, family, full, prefix=prefix)
        arrays |= more
    if probe:
        (score,), more = write_modules(probe, family, full, prefix=prefix)
        if family.head_has_bias(c, network):  # ours may have none, which is 0
            classes = len(more[f"{prefix}{score}.weight"])
            more.setdefault(f"{prefix}{score}.bias", np.zeros(classes, "f4"))
        saved, arrays = with_whole_head([*saved, score], family), arrays | more
    return config | ({"modules_to_save": saved} if saved else {}), arrays


def check_others(peft_type, mains, others):
    """Return the biases, the layers in full, and the head, or None for each, that are in `others`.

    Raises NotInPeft for other methods, for another order, and for layers that two of them adapt.
    """
    allowed = BESIDE_LORA if peft_type == "LORA" else BESIDE
    found = {type(m.method): m for m in others}
    if [*found.values()] != others or [*found] != [c for c in allowed if c in found]:
        raise NotInPeft
    if len(mains) > 1 and peft_type != "LORA":
        raise NotInPeft
    biases, full_layers, probe = (found.get(c) for c in (BiasTuning, FullFineTuning, Probe))
    if probe and probe.method.hidden or biases and biases.adapts("score"):
        raise NotInPeft
    if full_layers:
        rest = [m for m in (*mains, *others) if m is not full_layers]
        if any(m.adapts(path) for m in rest for path in full_layers.at):
            raise NotInPeft
    return biases, full_layers, probe


# -- reading


def read_adaptation(
    folder: Path,
    model: Module,
    *,
    resume: bool = False,
    methods: Iterable[type] = (),
    as_peft: bool = False,
) -> Adaptation:
    """Return the adaptation in a folder; for the arguments see load_adaptation.

    as_peft: prompts and prefixes are read as if PEFT had saved them.
    """
    settings = read_json(folder / CONFIG)
    rename = lambda name: local_name(name, model)
    file = SafetensorsFile(folder / ADAPTER, rename)
    check_base(file, model)
    record = file.metadata.get("minipeft")
    method = method_from_json(parse_json(record, file.path), (), methods) if record else None
    if resume and method and has_network(method):
        return read_parameters(method, file.path, SafetensorsFile(folder / NETWORK), model)
    if settings.field("peft_type", None, str) not in PEFT_TYPES:
        method = method_from_json(settings, PEFT_TYPES, methods)
        return read_parameters(method, settings.path, file, model)
    known = method and not (as_peft and settings["peft_type"] in PROMPT_LEARNING)
    with as_checkpoint_error(file.path):  # a pattern in the metadata may be malformed
        γs = from_peft(settings, file, model, [*flatten(method)] if known else [])
    file.check_all_used()
    return check_norms(regroup(γs, method), model, file.path)


def task_type(folder: Path) -> str | None:
    """Return PEFT's task type of the adaptation in a folder, or None."""
    return read_json(folder / CONFIG).field("task_type", None, str)


def local_name(name: str, model: Module) -> str | None:
    """Return a tensor's name in our files unchanged, and one in PEFT's files as `family` has it."""
    for prefix in ("base_model.model.", "base_model."):
        if name.startswith(prefix):
            return family_of(model.config).file_key(name.removeprefix(prefix))
    return name


def check_base(file: SafetensorsFile, model: Module) -> None:
    """Raise CheckpointError if the file was made for another base model.  PEFT's do not say."""
    here = base_fields(model.fingerprint())
    made_for = parse_json(file.metadata.get("base", "{}"), file.path)
    there = {name: made_for.get(stored_name(name, made_for), here[name]) for name in here}
    if same_weights(str(there.get("weights")), str(here.get("weights"))):
        there["weights"] = here.get("weights")
    if differ := [name for name in here if there[name] != here[name]]:
        differences = ", ".join(
            f"{name}={there[name]!r}, and this model has {here[name]!r}" for name in differ
        )
        raise CheckpointError(
            f"{file.path} was made for another base model: {differences}; load it with that one"
        )


def from_peft(settings, file, model, saved: list) -> list[Adaptation]:
    """Return the parts of the adaptation in PEFT's folder, in order.

    saved: the methods that the folder was saved from, if minipeft saved it.
    """
    names, peft_type = PeftNames(model, family_of(model.config), settings), settings["peft_type"]
    of = lambda *classes: [m for m in saved if type(m) in classes]
    mains = of(*PEFT_TYPES[peft_type])
    remove_copies(file, names)
    if peft_type in PROMPT_LEARNING:
        γs = [read_prompt(settings, file, model, mains[0] if mains else None)]
    else:
        γs = READERS[peft_type](file, names, mains)
    if peft_type == "LORA":
        γs += read_biases(file, names, of(BiasTuning))
    base = read_base_weights(file, names)
    inner = [γ for γ in γs if any(map(γ.adapts, base))]
    if any(isinstance(γ.method, DoRA) for γ in inner):
        raise CheckpointError(
            f"{file.path} has other weights of {' and '.join(base)} than the model, to which DoRA "
            "can't be added: load it with the base model that it was trained with"
        )
    at = read_modules(file, names, [m for m in names.modules_to_save() if m != names.head])
    if at := at | ({} if inner else base):
        method = [*of(FullFineTuning), FullFineTuning(names.pattern(at))][0]
        γs.append(method.bind(at, model))
    if inner:
        γs.insert(0, FullFineTuning(names.pattern(base)).bind(base, model))
    return γs + read_head(file, names)


def read_head(file, names: PeftNames) -> list[Adaptation]:
    """Return [the head in the file, as a Probe], or [] if there is none."""
    scores, model = names.family.head_names, names.model
    heads = dict.fromkeys([scores.get(type(model)), *scores.values()])  # the model's own first
    score = next((score for score in heads if f"{score}.weight" in file), None)
    if score is None:
        return []
    task = names.settings.field("task_type", None, str)
    classes = [c for c in scores if scores[c] == score]
    classes = [c for c in classes if TASK_TYPES[c] == task] or classes
    if type(model) not in classes:
        C, bias = len(file[f"{score}.weight"]), f"bias={f'{score}.bias' in file}"
        pool = "" if model.config.causal else f", pool={DEFAULT_POOL[False]!r}"
        size = lambda c: "" if c is SpanClassifier else f", {C}" + pool * (c is Classifier)
        calls = " or ".join(f"{c.__name__}(model{size(c)}, {bias})" for c in classes)
        raise CheckpointError(f"{file.path} has {score}.weight: load it with {calls}")
    if "b" not in model.score.tensors() and not file.get(f"{score}.bias", np.zeros(1)).any():
        file.pop(f"{score}.bias", None)
    return [Probe().bind(read_modules(file, names, [score]), model)]


def regroup(γs: list[Adaptation], method) -> Adaptation:
    """Return one adaptation of several, with Chains in Chains as in `method` if it has the same."""
    if not method or [type(γ.method) for γ in γs] != [*map(type, flatten(method))]:
        return γs[0] if len(γs) == 1 else Chain(*γs)
    rest = iter(γs)

    def build(m):
        return Chain(*map(build, m.methods)) if isinstance(m, MethodChain) else next(rest)

    return build(method)
