"""PEFT's prompts and prefixes: one tensor, `prompt_embeddings`, with the rows of all layers.

NV virtual tokens   D width   L layers   K d width of keys and values

A prompt is (NV, D).  A prefix is (NV, 2 L K d): P_key and P_value of each layer, side by side.  A
prompt of several tasks is P, and two more tensors: c (tasks, NV, rank) and r (tasks, rank, D).
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
FRONT = re.compile(r"((\[P\](\*\d+)?)\s*)+\{x\}")  # templates with all pseudo-tokens in front


def layout(peft_type: str, c: Config) -> tuple[list[str], tuple[str, ...], int]:
    """Return the paths of the layers, the names of the tensors at each, and their width."""
    if peft_type == "PREFIX_TUNING":
        paths = [f"blocks.{n}.attn" for n in range(c.layers)]
        return paths, ("P_key", "P_value"), c.d * (c.key_heads or c.heads)
    return ["tokens"], ("P",), c.width


def base_settings(peft_type: str, c: Config) -> dict[str, int]:
    """Return the settings that describe the base model, for a prefix by its key heads."""
    heads = (c.key_heads or c.heads) if peft_type == "PREFIX_TUNING" else c.heads
    return {
        "token_dim": layout(peft_type, c)[2],
        "num_layers": c.layers,
        "num_attention_heads": heads,
    }


def write_prompt(γ: Adaptation, peft_type: str):
    """Return the configuration and tensors of a prompt or a prefix."""
    method, c = γ.method, γ.made_for.config
    paths, *_ = layout(peft_type, c)
    if isinstance(method, PseudoTokens) and not FRONT.fullmatch(method.template):
        raise NotInPeft
    if [*γ.at] != paths or isinstance(method, PrefixTuning) and not method.shift_positions:
        raise NotInPeft
    config, tensors = base_settings(peft_type, c), {}
    rows = [p.data for ps in γ.at.values() for name, p in ps.items() if name not in TASK_TENSORS]
    if peft_type == "MULTITASK_PROMPT_TUNING":
        for name, key in TASK_TENSORS.items():
            x = γ.at["tokens"][name].data
            tensors[key] = x if x.ndim == 3 else x[None]
        config |= {"num_tasks": method.tasks, "num_ranks": method.rank}
    P = np.concatenate(rows, axis=1)
    config |= {"num_virtual_tokens": len(P), "num_transformer_submodules": 1}
    return config, tensors | {"prompt_embeddings": P}


def read_prompt(settings, file, model, saved) -> Adaptation:
    """Return the prompt or prefix in the file, by the `saved` method if it is not None."""
    c, peft_type = model.config, settings["peft_type"]
    base = {name: (value,) for name, value in base_settings(peft_type, c).items()}
    settings.check_supported(base, "; it was made for another base")
    settings.check_supported({"num_transformer_submodules": (1,)})
    paths, names, width = layout(peft_type, c)
    length = settings.field("num_virtual_tokens", len(file.get("prompt_embeddings", ())), int)
    if length >= c.length:
        raise CheckpointError(
            f"{settings.path}: num_virtual_tokens={length} leaves no room for a text: the model "
            f"has {c.length} positions"
        )
    count = len(paths) * len(names)
    P = file.require("prompt_embeddings", (length, count * width)).astype(model.dtype)
    rows = (parameter(x.copy()) for x in np.split(P, count, axis=1))
    if isinstance(saved, PseudoTokens):
        if saved.length == length:
            return saved.bind({"tokens": {"h": next(rows)}}, model)
        saved = None
    method = saved or METHODS.get(peft_type, PromptTuning)()
    at = {path: {name: next(rows) for name in names} for path in paths}
    if peft_type == "MULTITASK_PROMPT_TUNING":
        tasks, rank = (settings.field(name, 1, int) for name in ("num_tasks", "num_ranks"))
        method = replace(method, tasks=tasks, rank=rank)
        for (name, key), shape in zip(TASK_TENSORS.items(), ((length, rank), (rank, width))):
            x = file.require(key, (tasks, *shape)).astype(model.dtype)
            at["tokens"][name] = parameter((x if tasks > 1 else x[0]).copy())
    return replace(method, length=length).bind(at, model)
