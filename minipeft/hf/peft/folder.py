"""PEFT's folders.  A method that PEFT lacks gets the same two files in our own names.

Those files say what is computed.  How the adaptation was made, and so how it is trained on, stands
in the metadata of the tensors, which PEFT neither reads nor keeps.
"""

import json
import re
from contextlib import suppress
from dataclasses import asdict

import numpy as np

from ...adaptation.chain import Chain, MethodChain
from ...adaptation.merge import fold
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
    Reparametrised,
)
from ...model.bert import Encoder
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
from ...storage.safetensors import SafetensorsFile, named_arrays
from ..models import family_of
from . import ia3, lora
from . import modules_to_save as whole
from .naming import Theirs
from .native import OnlyOurs, described, filled, has_encoder, made
from .prompts import rows_from, rows_to

PROMPTS = {
    "PROMPT_TUNING": (PromptTuning,),
    "P_TUNING": (PseudoTokens,),
    "PREFIX_TUNING": (PrefixTuning, PTuningV2),
    "MULTITASK_PROMPT_TUNING": (MultitaskPrompt,),
}
TUNERS = {"LORA": (LoRA, DoRA), "IA3": (IA3,), "LN_TUNING": (LayerNormTuning,)}
KINDS = PROMPTS | TUNERS  # PEFT's name: our methods
TASKS = {
    Decoder: "CAUSAL_LM",
    Classifier: "SEQ_CLS",
    Head: "SEQ_CLS",
    TokenClassifier: "TOKEN_CLS",
    TokenHead: "TOKEN_CLS",
    SpanClassifier: "QUESTION_ANS",
    SpanHead: "QUESTION_ANS",
    Features: "FEATURE_EXTRACTION",
    Encoder: "FEATURE_EXTRACTION",
}
HEADED = "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"


def parts(γ):
    """The methods of a Chain, also of those in it."""
    if isinstance(γ, MethodChain):
        return sum(map(parts, γ.methods), [])
    return sum(map(parts, γ.parts), []) if isinstance(γ, Chain) else [γ]


# -- out


def to_peft(γ):
    """Configuration, tensors and metadata: PEFT's if it has the method, or ours."""
    methods = parts(γ)
    for kind, own in KINDS.items():
        n = next((i for i, m in enumerate(methods) if type(m.method) not in own), len(methods))
        if n:
            with suppress(OnlyOurs):
                return *as_theirs(kind, methods[:n], methods[n:], γ), {}
    return described(γ.method), *named_arrays(γ)


def as_theirs(kind, mains, beside, γ):
    """What PEFT writes of a method and of what stands beside it in a Chain."""
    order = (BiasTuning,) * (kind == "LORA") + (FullFineTuning,) * (kind in TUNERS) + (Probe,)
    there = {type(m.method): m for m in beside}
    if [*there.values()] != beside or [*there] != [c for c in order if c in there]:
        raise OnlyOurs
    if len(mains) > 1 and kind != "LORA":
        raise OnlyOurs
    biases, others, probe = (there.get(c) for c in (BiasTuning, FullFineTuning, Probe))
    if biases and biases.adapts("score"):
        raise OnlyOurs
    network, family = head_of(γ), family_of(γ.made_for.config)
    task = TASKS.get(network)
    task = None if task in HEADED and not probe else task
    full = lambda path: family.full_hf_name(path, network, γ.made_for.config)
    if kind in PROMPTS:
        if task is None:
            raise OnlyOurs
        config, tensors = rows_to(mains[0], kind)
    elif kind == "LORA":
        config, tensors = lora.to_peft(mains, family, full)
    else:
        to = ia3.to_peft if kind == "IA3" else whole.norms_to
        config, tensors = to(mains[0], family, full)
    config |= {"peft_type": kind, "inference_mode": True, "task_type": task}
    if biases:
        config["bias"], more = whole.biases_to(biases, mains, family, full)
        tensors |= more
    kept = []
    if others:
        if {*others.at} & {path for m in (*mains, *beside) if m is not others for path in m.at}:
            raise OnlyOurs
        kept, more = whole.whole_to(others, family, full)
        tensors |= more
    if probe:
        before = "base_model." if kind in PROMPTS else "base_model.model."
        (score,), more = whole.whole_to(probe, family, full, before=before)
        if family.head_has_bias(γ.made_for.config, network):  # 0, if ours has none
            classes = len(more[f"{before}{score}.weight"])
            more.setdefault(f"{before}{score}.bias", np.zeros(classes, "f4"))
        kept = [*kept, score]
        tensors |= more
    return config | ({"modules_to_save": kept} if kept else {}), tensors


def head_of(γ):
    """The class of the network that an adaptation is of: that of its head, if it has one."""
    return next(
        (m.made_for.network for m in parts(γ) if type(m.method) is Probe), γ.made_for.network
    )


def files(γ):
    """What a folder of the adaptation holds."""
    if any(
        m.users and type(m.method) is not MultitaskPrompt for m in parts(γ)
    ):  # those are its tasks
        raise CheckpointError("a stack of several users has no format: save each user's adaptation")
    record = {"minipeft": json.dumps(described(γ.method), default=lambda x: x.tolist())}
    record["base"] = json.dumps(base_named(γ.made_for.config, γ.made_for.weights))
    record["network"] = head_of(γ).__name__
    config, tensors, metadata = to_peft(fold(γ))
    found = {"reparametrization.safetensors": named_arrays(γ)} if has_encoder(γ.method) else {}
    return found | {
        "adapter_config.json": config,
        "adapter_model.safetensors": (tensors, metadata | record),
    }


# -- in


def base_named(config, mark):
    """What tells one base from another: its configuration, and a mark of its numbers."""
    return json.loads(json.dumps(asdict(config) | ({"weights": mark} if mark else {})))


def of_this_base(file, model):
    """An error if the file was made for another base than the model; PEFT's do not say."""
    have = base_named(model.config, model.weights_checksum())
    want = parse_json(file.metadata.get("base", "{}"), file.path)
    if other := {name: have[name] for name in have if want.get(name, have[name]) != have[name]}:
        told = ", ".join(f"{name}={want[name]!r}, not {value!r}" for name, value in other.items())
        raise CheckpointError(f"{file.path} was made for another base: {told}; load it on that one")


def head_from(file, theirs):
    """The Probe with the head in the file, if there is one."""
    scores, model = theirs.family.head_names, theirs.model
    brought = next((score for score in {*scores.values()} if f"{score}.weight" in file), None)
    if brought is None:
        return []
    task = theirs.settings.field("task_type", None, str)
    fit = [kind for kind in scores if scores[kind] == brought]
    fit = [kind for kind in fit if TASKS[kind] == task] or fit
    if type(model) not in fit:
        C, bias = len(file[f"{brought}.weight"]), f"bias={f'{brought}.bias' in file}"
        sizes = {kind: "" if kind is SpanClassifier else f", {C}" for kind in fit}
        beside = " or ".join(f"{kind.__name__}(model{sizes[kind]}, {bias})" for kind in fit)
        raise CheckpointError(f"{file.path} has a {brought}.weight: load it beside {beside}")
    if "b" not in model.score.tensors() and not file.get(f"{brought}.bias", np.zeros(1)).any():
        file.pop(f"{brought}.bias", None)
    return [Probe().bind(whole.whole_from(file, theirs, [brought]), model)]


def from_peft(kind, settings, file, model, known):
    """The parts of a PEFT folder, in order; those of a known one where the file still is so."""
    theirs = Theirs(model, family_of(model.config), settings)
    of = lambda *kinds: [m for m in known if type(m) in kinds]
    if kind in PROMPTS:
        γs = [rows_from(settings, file, model, next(iter(of(*KINDS[kind])), None))]
    else:
        read = {"LORA": lora.from_peft, "IA3": ia3.from_peft, "LN_TUNING": whole.norms_from}[kind]
        γs = read(file, theirs, of(*KINDS[kind]))
        if kind == "LORA":
            γs += whole.biases_from(file, theirs, of(BiasTuning))
        kept = [m for m in theirs.saved() if m != theirs.head]
        if kept := kept + whole.embeddings(file, theirs):
            at = whole.whole_from(file, theirs, kept)
            own = of(FullFineTuning) or [FullFineTuning(theirs.pattern(at))]
            γs.append(own[0].bind(at, model))
    return γs + head_from(file, theirs)


def read(folder, model, resume=False, compat=None):
    """The adaptation in a folder.  compat="peft": with PEFT's faults."""
    settings = read_json(folder / "adapter_config.json")
    file = SafetensorsFile(folder / "adapter_model.safetensors", lambda name: called(name, model))
    of_this_base(file, model)
    record = file.metadata.get("minipeft")
    known = made(parse_json(record, file.path)) if record else None
    kind = settings.field("peft_type", None, str)
    if kind not in KINDS:
        γ = filled(made(settings, KINDS), file, model)
    else:
        before = folded(known)
        γs = from_peft(
            kind, settings, file, model, [] if compat and kind in PROMPTS else parts(before)
        )
        file.check_all_used()
        γ = Chain(*γs) if compat else together(γs, before)
    if resume and known and has_encoder(known):
        return filled(known, SafetensorsFile(folder / "reparametrization.safetensors"), model)
    return γ


def folded(known):
    """What is left of an adaptation that nothing encodes any more."""
    if isinstance(known, MethodChain):
        return MethodChain(*map(folded, known.methods))
    return known.method if isinstance(known, Reparametrised) else known


def together(γs, known):
    """One adaptation, a Chain of Chains if that is known."""
    if not known or [type(γ.method) for γ in γs] != [*map(type, parts(known))]:
        return γs[0] if len(γs) == 1 else Chain(*γs)
    rest = iter(γs)
    again = lambda m: Chain(*map(again, m.methods)) if isinstance(m, MethodChain) else next(rest)
    return again(known)


def called(name, model):
    """A name in a file of PEFT's as the model's family has it; ours stay."""
    bare = re.sub(r"^base_model\.(model\.)?", "", name)
    return name if bare == name else family_of(model.config).file_key(bare)
