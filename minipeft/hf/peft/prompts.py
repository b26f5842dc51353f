"""PEFT's prompts and prefixes: one tensor, `prompt_embeddings`, with the rows of all layers.

NV virtual tokens   D width   L layers   K d width of keys and values

A prompt is (NV, D).  A prefix is (NV, 2 L K d): P_key and P_value of each layer, side by side.  A
prompt of several tasks is P, and two more tensors: c (tasks, NV, rank) and r (tasks, rank, D).

In an encoder–decoder, a prompt is in front of the encoder's text, and may have NV more rows: those
of several tasks are in front of the decoder's text, others have no effect.  A prefix is that of the
decoder's self-attention, and layer i has block 2 i mod L of it: see docs/differences-from-peft.md.
"""

import re
from dataclasses import replace

import numpy as np

from ...adaptation.adaptation import Adaptation, parameter
from ...methods import MultitaskPrompt, PrefixTuning, PromptTuning, PseudoTokens
from ...model.config import Config
from ...storage.json import CheckpointError
from .native import NotInPeft

TASK_TENSORS = {"c": "prefix_task_cols", "r": "prefix_task_rows"}
METHODS = {"PREFIX_TUNING": PrefixTuning, "MULTITASK_PROMPT_TUNING": MultitaskPrompt}
TOKENIZER = "tokenizer_name_or_path"
CARRIED = {TOKENIZER: str, "tokenizer_kwargs": dict}
FRONT = re.compile(r"((\[P\](\*\d+)?)\s*)+\{x\}")  # templates with all pseudo-tokens in front
DECODER_ATTENTION = r"^decoder\.blocks\.\d+\.attn$"
BOTH_STACKS = r"^(encoder|decoder)\.tokens$"


def embeddings(c: Config) -> list[str]:
    """Return the paths of the embeddings of all stacks."""
    return ["encoder.tokens", "decoder.tokens"] if c.decoder_layers else ["tokens"]


def prefix_blocks(c: Config) -> dict[str, int]:
    """Return {path of an attention: which block of a prefix in PEFT's file it has}."""
    if c.decoder_layers:
        return {f"decoder.blocks.{n}.attn": 2 * n % c.layers for n in range(c.layers)}
    return {f"blocks.{n}.attn": n for n in range(c.layers)}


def base_settings(peft_type: str, c: Config) -> dict[str, int]:
    """Return the settings that describe the base model, for a prefix by its key heads."""
    prefix, keys = peft_type == "PREFIX_TUNING", c.key_heads or c.heads
    return {
        "token_dim": c.d * keys if prefix else c.width,
        "num_layers": c.layers,
        "num_attention_heads": keys if prefix else c.heads,
    }


def check_base(settings, c: Config) -> None:
    """Raise CheckpointError for settings that describe another base model."""
    peft_type = settings["peft_type"]
    supported = {name: (value,) for name, value in base_settings(peft_type, c).items()}
    settings.check_supported(supported, "; it was made for another base")
    stacks = (2,) if peft_type == "PREFIX_TUNING" else (1, 2)
    settings.check_supported({"num_transformer_submodules": stacks if c.decoder_layers else (1,)})
    if peft_type == "PREFIX_TUNING" and not has_prefix(c):
        raise CheckpointError(
            f"{settings.path}: PEFT's prefix needs as many layers in the decoder as in the encoder,"
            f" and heads that are together as wide as the model; these are {c.decoder_layers} and "
            f"{c.layers}, {c.heads * c.d} and {c.width}"
        )


def has_prefix(c: Config) -> bool:
    """Return whether PEFT can compute a prefix for the model."""
    same = c.decoder_layers == c.layers and c.heads * c.d == c.width
    return same or not c.decoder_layers


def words_of(settings) -> dict:
    """Return the fields of a method that say how PEFT starts a prompt."""
    kind = settings.field("prompt_tuning_init", "RANDOM", str)
    if kind == "TEXT":
        return {"init": "text", "words": settings.field("prompt_tuning_init_text", (), str)}
    return {"init": "vocabulary" if kind == "SAMPLE_VOCAB" else "uniform"}


def start_settings(γ: Adaptation) -> dict:
    """Return PEFT's settings of how a prompt starts: of a text, if its tokenizer is known."""
    method, tokenizer = γ.method, {TOKENIZER: γ.made_for.folder, "tokenizer_kwargs": None}
    tokenizer |= γ.folder_settings
    if isinstance(method.words, str) and tokenizer[TOKENIZER]:
        text = {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": method.words}
        return text | tokenizer
    sampled = method.init == "vocabulary" and not method.words
    return {"prompt_tuning_init": "SAMPLE_VOCAB" if sampled else "RANDOM"}


def task_fields(settings) -> dict:
    """Return the fields of a method for several tasks."""
    names = {"tasks": "num_tasks", "rank": "num_ranks"}
    return {field: settings.field(name, 1, int) for field, name in names.items()}


# -- writing


def write_prompt(γ: Adaptation, peft_type: str):
    """Return the configuration and tensors of a prompt or a prefix."""
    method, c = γ.method, γ.made_for.config
    if isinstance(method, PseudoTokens) and not FRONT.fullmatch(method.template):
        raise NotInPeft
    config, tensors, P = base_settings(peft_type, c), {}, None
    stacks = 2 if c.decoder_layers else 1
    if peft_type == "PREFIX_TUNING":
        P = write_prefix(γ)
    else:
        paths, stacks = embeddings(c), len(γ.at)
        shared = peft_type == "MULTITASK_PROMPT_TUNING"
        if [*γ.at] != paths[:stacks] or stacks > 1 and not shared:
            raise NotInPeft
        P = np.concatenate([next(iter(ps.values())).data for ps in γ.at.values()])
        if shared:
            tensors = write_tasks(γ)
            config |= {"num_tasks": method.tasks, "num_ranks": method.rank}
    if isinstance(method, PromptTuning):
        config |= start_settings(γ)
    config |= {"num_virtual_tokens": method.length, "num_transformer_submodules": stacks}
    return config, tensors | {"prompt_embeddings": P}


def write_prefix(γ: Adaptation) -> np.ndarray:
    """Return the blocks (NV, 2 L K d) of a prefix; those that no layer has are zeros."""
    c, found = γ.made_for.config, {}
    blocks = prefix_blocks(c)
    fits = {*γ.at} == {*blocks} and γ.method.shift_positions and has_prefix(c)
    if not fits or getattr(γ.method, "gate", False):
        raise NotInPeft
    for path, n in blocks.items():
        rows = γ.at[path]["P_key"], γ.at[path]["P_value"]
        if any(p is not q for p, q in zip(found.setdefault(n, rows), rows)):
            raise NotInPeft
    zeros = [np.zeros_like(p.data) for p in rows]
    kv = [[p.data for p in found[n]] if n in found else zeros for n in range(c.layers)]
    return np.concatenate([x for pair in kv for x in pair], axis=1)


def write_tasks(γ: Adaptation) -> dict[str, np.ndarray]:
    """Return {name: tensor} of c and r, which is that of both stacks."""
    first, *others = γ.at.values()
    if any(ps["r"] is not first["r"] for ps in others):
        raise NotInPeft
    c, r = np.concatenate([ps["c"].data for ps in γ.at.values()], axis=-2), first["r"].data
    return {TASK_TENSORS[n]: x if x.ndim == 3 else x[None] for n, x in (("c", c), ("r", r))}


# -- reading


def read_prompt(settings, file, model, saved) -> Adaptation:
    """Return the prompt or prefix in the file, by the `saved` method if it is not None."""
    c, peft_type = model.config, settings["peft_type"]
    check_base(settings, c)
    stacks = settings.field("num_transformer_submodules", 2 if c.decoder_layers else 1, int)
    rows = 1 if peft_type == "PREFIX_TUNING" else stacks
    length = len(file.get("prompt_embeddings", ())) // rows
    length = settings.field("num_virtual_tokens", length, int)
    if length >= c.length:
        raise CheckpointError(
            f"{settings.path}: num_virtual_tokens={length} leaves no room for a text: the model "
            f"has {c.length} positions"
        )
    read = lambda *shape: file.require("prompt_embeddings", shape).astype(model.dtype)
    if isinstance(saved, PseudoTokens) and saved.length != length:
        saved = None
    method = saved or METHODS.get(peft_type, PromptTuning)()
    if isinstance(method, PromptTuning) and not saved:
        method = replace(method, **words_of(settings))
    if peft_type == "PREFIX_TUNING":
        width = base_settings(peft_type, c)["token_dim"]
        at = split_prefix(read(length, 2 * c.layers * width), prefix_blocks(c), c.layers)
        if c.decoder_layers and not saved:
            method = replace(method, targets=DECODER_ATTENTION)
    else:
        P = np.split(read(stacks * length, c.width), stacks)
        at = {embeddings(c)[0]: {"h" if method.pseudo_tokens else "P": parameter(P[0].copy())}}
    if peft_type == "MULTITASK_PROMPT_TUNING":
        method = replace(method, **task_fields(settings))
        at = read_tasks(P, method, file, c, model.dtype)
        if stacks > 1 and not saved:
            method = replace(method, targets=BOTH_STACKS)
    if not method.pseudo_tokens:
        method = replace(method, length=length)
    γ = method.bind(at, model)
    settings.check_depth()
    carried = {name: settings.field(name, None, kind) for name, kind in CARRIED.items()}
    γ.folder_settings = {name: value for name, value in carried.items() if value is not None}
    return γ


def split_prefix(P, blocks: dict[str, int], L: int) -> dict:
    """Return {path: {"P_key", "P_value"}}; layers with the same block have the same parameters."""
    pairs = [
        {
            name: parameter(x.copy())
            for name, x in zip(("P_key", "P_value"), np.split(kv, 2, axis=1))
        }
        for kv in np.split(P, L, axis=1)
    ]
    return {path: dict(pairs[n]) for path, n in blocks.items()}


def read_tasks(P: list, method, file, c: Config, dtype) -> dict:
    """Return {path: {"P", "c", "r"}} for the prompts P of the stacks; r is that of both."""
    tasks, rank, length = method.tasks, method.rank, len(P[0])
    one = lambda x: parameter((x if tasks > 1 else x[0]).astype(dtype))
    cols = file.require(TASK_TENSORS["c"], (tasks, len(P) * length, rank))
    r = one(file.require(TASK_TENSORS["r"], (tasks, rank, c.width)))
    parts = zip(embeddings(c), P, np.split(cols, len(P), axis=1))
    return {path: {"P": parameter(x.copy()), "c": one(y), "r": r} for path, x, y in parts}
