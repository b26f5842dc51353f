"""minipeft info: what a folder holds, read from its JSON files and the headers of its tensors."""

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Annotated

from rich.markup import escape
from tyro.conf import Positional, arg

from .. import hf
from ..autograd.nn import size
from ..data.words import count
from ..hf.models import FAMILIES
from ..hf.peft.folder import PEFT_TYPES
from ..hf.peft.lora import SUPPORTED
from ..hf.peft.native import method_from_json
from ..methods import DoRA
from ..storage.headers import read_shapes
from ..storage.json import parse_json, read_json
from . import evaluation
from .common import Command, Config, Json, optional
from .folders import CONFIG, TENSORS, folder_path, holds_adaptation, load_with_network
from .tables import make_table, print_table

MODEL = "Check an adaptation against this model: a folder, `decoder`, `encoder` or `seq2seq`."
NETWORK = "reparametrization.safetensors"  # parameters of an encoder, to resume training
SUMMARIZED = "peft_type", "task_type", "base_model_name_or_path"  # fields of adapter_config.json
JOINED = (
    "LoRAs of layers that are one module in PEFT, such as q and v in GPT-2's c_attn, are saved as "
    "one, with zeros in B, which params counts: ranks and alphas add up, the scale α/r is the same"
)
FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


@dataclass
class Info(Command):
    """Show what a folder holds, a model or an adaptation, without loading its tensors."""

    folder: Positional[Annotated[str | None, arg(metavar="[FOLDER]", help_behavior_hint="")]] = None
    """Folder from Hugging Face, PEFT or minipeft, or `decoder`, `encoder` or `seq2seq`.
    (default: decoder)"""
    model: optional(str, "FOLDER", MODEL) = None
    config: Config = None
    json: Json = False

    def run(self):
        folder = folder_path(self.folder)
        if holds_adaptation(folder):
            report = describe_adaptation(folder, self.model)
        elif self.model:
            raise ValueError(f"--model checks an adaptation, and {folder} does not hold one")
        else:
            report = describe_model(folder)
        files = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.is_file()}
        self.output({"folder": str(folder), **report, "files": files})

    def show(self, report):
        table = make_table("", "", title=report.pop("folder"))
        config, files = report.pop("config"), report.pop("files")
        files = {name: count(n, "byte") for name, n in files.items()}
        report = {name.replace("_", " "): value for name, value in report.items()}
        for section in (report, config, files):
            for name, value in section.items():
                if has_value(value):
                    table.add_row(escape(name), escape(format_value(value)))
            table.add_section()
        print_table(table)


def has_value(value):
    """Return whether a value says more than that something is absent."""
    return value not in (None, False, 0, "", (), [], {})


def format_value(value):
    """Return a value of a report as text."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {format_value(v)}" for k, v in value.items() if has_value(v))
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def describe_model(folder):
    """Return the report on a folder of a model."""
    settings = read_json(folder / "config.json")
    network, unsupported = try_call(hf.load_outline, folder)
    shapes, unreadable = try_call(read_shapes, folder / "model.safetensors")
    if unreadable:
        raise hf.CheckpointError(unsupported)  # which may be the cause: a quantised model
    model_type = settings.field("model_type", "", str)
    dtypes = count_dtypes(shapes[0])
    return {
        "type": "model",
        "family": FAMILIES[model_type].name if model_type in FAMILIES else None,
        "model_type": model_type,
        "architectures": settings.get("architectures"),
        "loads_as": network and type(network).__name__,
        "not_supported": unsupported,
        "params": size(network) if network else sum(dtypes.values()),
        "dtypes": dtypes,
        "tokenizer": (folder / "tokenizer.json").is_file(),
        "config": asdict(network.config) if network else dict(settings),
    }


def describe_adaptation(folder, base):
    """Return the report on a folder of an adaptation; `base` names a model to check it against."""
    settings = read_json(folder / CONFIG)
    tensors, metadata = read_shapes(folder / TENSORS)
    tensors = {name: x for name, x in tensors.items() if not name.endswith(".base_layer.weight")}
    made_for = parse_json(metadata.get("base", "{}"), folder / TENSORS)
    method, unsupported = try_call(method_of, settings, metadata.get("minipeft"))
    adaptation, network = load_with_network(folder, hf.load(base)) if base else (None, None)
    labels = (folder / evaluation.LABELS).is_file()
    dtypes, ranks = count_dtypes(tensors), first_axes(tensors, r"lora_(embedding_)?A")
    return {
        "type": "adaptation",
        "peft_type": settings.get("peft_type"),
        "task_type": settings.get("task_type"),
        "loads_as": str(adaptation) if adaptation else method,
        "not_supported": unsupported,
        "trained_params": adaptation and size(adaptation),
        "params": sum(dtypes.values()),
        "dtypes": dtypes,
        "ranks": ranks,
        "note": JOINED if is_joined(ranks, metadata.get("minipeft", "")) else None,
        "virtual_tokens": first_axes(tensors, "prompt_embeddings"),
        "reparametrization": (folder / NETWORK).is_file(),
        "labels": evaluation.read_labels(folder) if labels else None,
        "base_model": settings.get("base_model_name_or_path"),
        "made_for": made_for or None,
        "checked_with": base and f"{base}, as {type(network).__name__}",
        "tokenizer": (folder / "tokenizer.json").is_file(),
        "config": {name: value for name, value in settings.items() if name not in SUMMARIZED},
    }


def try_call(f, *args):
    """Return (f(*args), None), or (None, message) of the error if the folder is not supported."""
    try:
        return f(*args), None
    except (LookupError, TypeError, ValueError) as error:
        return None, str(error)


def method_of(settings, record):
    """Return the method of an adaptation as text, as far as its configuration says.

    record: the method as minipeft's metadata has it, or None.
    """
    if record:
        return repr(method_from_json(parse_json(record, settings.path)))
    peft_type = settings.field("peft_type", "", str)
    if peft_type not in PEFT_TYPES:
        return repr(method_from_json(settings, PEFT_TYPES))
    settings.check_supported(SUPPORTED if peft_type == "LORA" else {})
    return (DoRA if settings.get("use_dora") else PEFT_TYPES[peft_type][0]).__name__


def is_joined(ranks: list[int], record: str) -> bool:
    """Return whether a file has a larger rank than all LoRAs of the method that was saved."""
    own = map(int, re.findall(r'"rank": (\d+)', record))
    return max(ranks, default=0) > max(own, default=math.inf)


def count_dtypes(tensors):
    """Return {dtype: how many parameters have it} of {name: (dtype, shape)}."""
    counts = Counter()
    for dtype, shape in tensors.values():
        counts[FLOATS.get(dtype, dtype)] += math.prod(shape)
    return dict(counts)


def first_axes(tensors, pattern):
    """Return the lengths of the first axes of the tensors whose names match."""
    shapes = (shape for name, (_, shape) in tensors.items() if re.search(pattern, name))
    return sorted({shape[0] for shape in shapes if shape})
