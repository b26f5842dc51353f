"""PEFT's prompts and prefixes: `prompt_embeddings`, the rows of all places side by side.

NV virtual tokens   D width   L layers   k, v: of the keys and values of a layer.   Of a prompt of
several tasks that is P, and beside it are c (tasks, NV, rank) and r (tasks, rank, D).
"""

import re
from dataclasses import replace

import numpy as np

from ...adaptation.adaptation import parameter
from ...methods import MultitaskPrompt, PrefixTuning, PromptTuning, PseudoTokens
from ...storage.json import CheckpointError
from .native import OnlyOurs

TASKS = "prefix_task_cols", "prefix_task_rows"
ROWS = {"PREFIX_TUNING": PrefixTuning, "MULTITASK_PROMPT_TUNING": MultitaskPrompt}
FRONT = re.compile(r"((\[P\](\*\d+)?)\s*)+\{x\}")  # a template whose pseudo-tokens stand in front


def places(kind, c):
    """Where the rows stand, how many tensors are at each (k0 v0 k1 v1 …), and how wide they are."""
    if kind == "PREFIX_TUNING":
        return [f"blocks.{n}.attn" for n in range(c.layers)], 2, c.d * (c.key_heads or c.heads)
    return ["tokens"], 1, c.width


def base_of(kind, c):
    """What PEFT keeps of the model: of a prefix that of its keys."""
    heads = (c.key_heads or c.heads) if kind == "PREFIX_TUNING" else c.heads
    return {
        "token_dim": places(kind, c)[2],
        "num_layers": c.layers,
        "num_attention_heads": heads,
    }


def rows_to(γ, kind):
    """Configuration and tensors of a prompt or a prefix."""
    paths, *_ = places(kind, γ.made_for.config)
    if isinstance(γ.method, PseudoTokens) and not FRONT.fullmatch(γ.template):
        raise OnlyOurs
    if [*γ.at] != paths or isinstance(γ.method, PrefixTuning) and not γ.method.shift_positions:
        raise OnlyOurs
    rows, tensors, config = [p.data for p in γ.parameters()], {}, base_of(kind, γ.made_for.config)
    if kind == "MULTITASK_PROMPT_TUNING":
        *rows, c, r = rows
        own = (x if x.ndim == 3 else x[None] for x in (c, r))
        tensors = dict(zip(TASKS, own, strict=True))
        config |= {"num_tasks": γ.method.tasks, "num_ranks": γ.method.rank}
    P = np.concatenate(rows, axis=1)
    config |= {"num_virtual_tokens": len(P), "num_transformer_submodules": 1}
    return config, tensors | {"prompt_embeddings": P}


def rows_from(settings, file, model, known):
    """The prompt or prefix in the file; as `known` has it, if that is one."""
    c, kind = model.config, settings["peft_type"]
    base = {name: (have,) for name, have in base_of(kind, c).items()}
    settings.only(base, "; it was made for another base")
    settings.only({"num_transformer_submodules": (1,)})
    paths, each, width = places(kind, c)
    length = settings.field("num_virtual_tokens", len(file.get("prompt_embeddings", ())), int)
    if length >= c.length:
        raise CheckpointError(
            f"{settings.path}: num_virtual_tokens={length} leaves no room for a text: the model "
            f"has {c.length} positions"
        )
    P = file.need("prompt_embeddings", (length, len(paths) * each * width)).astype(model.dtype)
    parts = map(parameter, map(np.copy, np.split(P, len(paths) * each, axis=1)))
    names = "h" if isinstance(known, PseudoTokens) else ("P_key", "P_value") if each == 2 else "P"
    at = {path: {name: next(parts) for name in names} for path in paths}
    if known and isinstance(known, PseudoTokens):
        return known.bind(at, model)
    γ = known or ROWS.get(kind, PromptTuning)()
    if kind == "MULTITASK_PROMPT_TUNING":
        tasks, rank = (settings.field(name, 1, int) for name in ("num_tasks", "num_ranks"))
        γ, shapes = replace(γ, tasks=tasks, rank=rank), ((length, rank), (rank, width))
        for own, name, shape in zip("cr", TASKS, shapes):
            x = file.need(name, (tasks, *shape)).astype(model.dtype)
            at["tokens"][own] = parameter((x if tasks > 1 else x[0]).copy())
    return replace(γ, length=length).bind(at, model)
