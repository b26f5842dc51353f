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
TOKENIZER = "tokenizer_name_or_path"
CARRIED = {TOKENIZER: str, "tokenizer_kwargs": dict}
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


def check_base(settings, c: Config) -> None:
    """Raise CheckpointError for settings that describe another base model."""
    base = base_settings(settings["peft_type"], c) | {"num_transformer_submodules": 1}
    supported = {name: (value,) for name, value in base.items()}
    settings.check_supported(supported, "; it was made for another base")


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
    if isinstance(method, PromptTuning):
        config |= start_settings(γ)
    P = np.concatenate(rows, axis=1)
    config |= {"num_virtual_tokens": len(P), "num_transformer_submodules": 1}
    return config, tensors | {"prompt_embeddings": P}


def read_prompt(settings, file, model, saved) -> Adaptation:
    """Return the prompt or prefix in the file, by the `saved` method if it is not None."""
    c, peft_type = model.config, settings["peft_type"]
    check_base(settings, c)
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
    if isinstance(method, PromptTuning) and not saved:
        method = replace(method, **words_of(settings))
    at = {path: {name: next(rows) for name in names} for path in paths}
    if peft_type == "MULTITASK_PROMPT_TUNING":
        method = replace(method, **task_fields(settings))
        tasks, rank = method.tasks, method.rank
        for (name, key), shape in zip(TASK_TENSORS.items(), ((length, rank), (rank, width))):
            x = file.require(key, (tasks, *shape)).astype(model.dtype)
            at["tokens"][name] = parameter((x if tasks > 1 else x[0]).copy())
    γ = replace(method, length=length).bind(at, model)
    settings.check_depth()
    carried = {name: settings.field(name, None, kind) for name, kind in CARRIED.items()}
    γ.folder_settings = {name: value for name, value in carried.items() if value is not None}
    return γ
