"""minipeft info: what a folder holds, by the headers of its files."""

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Annotated

from rich.markup import escape
from rich.table import Table
from tyro.conf import Positional, arg

from .. import hf
from ..autograd.nn import size
from ..hf.models.families import FAMILIES
from ..hf.peft.folder import KINDS
from ..hf.peft.lora import PLAIN
from ..hf.peft.native import made
from ..methods import DoRA
from ..storage.headers import headers
from ..storage.json import parsed, present
from . import evaluation as measure
from .common import Command, Config, Json, optional, out
from .folders import CONFIG, TENSORS, adapts, loaded, place

MODEL = "Check an adaptation against it: a folder, or `decoder` or `encoder`, the built-in ones."
SHOWN = "peft_type", "task_type", "base_model_name_or_path"
ENCODER = "reparametrization.safetensors"
FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


@dataclass
class Info(Command):
    """Show what a folder holds, a model or an adaptation, without loading it."""

    folder: Positional[Annotated[str | None, arg(metavar="[FOLDER]", help_behavior_hint="")]] = None
    """Of Hugging Face's, of PEFT's, or from `minipeft train`; without: the built-in base."""
    model: optional(str, "FOLDER", MODEL) = None
    config: Config = None
    json: Json = False

    def run(self):
        folder = place(self.folder)
        if self.model and not adapts(folder):
            raise ValueError(f"--model is to check an adaptation against, and {folder} holds none")
        report = adaptation(folder, self.model) if adapts(folder) else model(folder)
        files = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.is_file()}
        self.tell({"folder": str(folder), **report, "files": files})

    def show(self, report):
        table = Table(show_header=False, title=escape(report.pop("folder")))
        fields, files = report.pop("fields"), report.pop("files")
        files = {name: f"{count:,} bytes" for name, count in files.items()}
        report = {name.replace("_", " "): value for name, value in report.items()}
        for rows in (report, fields, files):
            for name, value in rows.items():
                if told(value):
                    table.add_row(escape(name), escape(shown(value)))
            table.add_section()
        out.print(table)


def told(value):
    """Is it more than that something is not there?"""
    return value not in (None, False, 0, "", (), [], {})


def shown(value):
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(one)}" for name, one in value.items() if told(one))
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def model(folder):
    settings = parsed(present(folder / "config.json"))
    found, _ = headers(folder / "model.safetensors")
    network, fault = attempt(hf.outline, folder)
    kind = settings.field("model_type", "", str)
    return {
        "holds": "model",
        "family": FAMILIES[kind].name if kind in FAMILIES else None,
        "model_type": kind,
        "architectures": settings.get("architectures"),
        "loads_as": network and type(network).__name__,
        "not_supported": fault,
        "parameters": size(network) if network else sum(stored(found).values()),
        "stored_as": stored(found),
        "tokenizer": (folder / "tokenizer.json").is_file(),
        "fields": asdict(network.config) if network else dict(settings),
    }


def adaptation(folder, base):
    """What is in an adaptation's folder; and if a base is given, whether it fits on that."""
    settings = parsed(present(folder / CONFIG))
    found, metadata = headers(folder / TENSORS)
    own = {name: x for name, x in found.items() if not name.endswith(".base_layer.weight")}
    said = parsed(folder / TENSORS, metadata.get("base", "{}"))
    kind, fault = attempt(method, settings, metadata.get("minipeft"))
    adaptation, network = loaded(folder, hf.load(base)) if base else (None, None)
    labels = folder / measure.LABELS
    return {
        "holds": "adaptation",
        "peft_type": settings.get("peft_type"),
        "task_type": settings.get("task_type"),
        "loads_as": repr(adaptation) if adaptation else kind,
        "not_supported": fault,
        "trained": adaptation and size(adaptation),
        "numbers": sum(stored(own).values()),
        "stored_as": stored(own),
        "ranks": lengths(own, r"lora_(embedding_)?A"),
        "virtual_tokens": lengths(own, "prompt_embeddings"),
        "encoder": (folder / ENCODER).is_file(),
        "labels": measure.labels_of(folder) if labels.is_file() else None,
        "base": settings.get("base_model_name_or_path"),
        "made_for": said or None,
        "fits": base and f"{base}, as {type(network).__name__}",
        "tokenizer": (folder / "tokenizer.json").is_file(),
        "fields": {name: said for name, said in settings.items() if name not in SHOWN},
    }


def attempt(work, *given):
    """What comes of it and no fault; or nothing, and what is not supported."""
    try:
        return work(*given), None
    except (LookupError, TypeError, ValueError) as error:
        return None, str(error)


def method(settings, record):
    """What an adaptation loads as, as far as its folder says."""
    if record:
        return repr(made(parsed(settings.path, record)))
    kind = settings.field("peft_type", "", str)
    if kind not in KINDS:
        return repr(made(settings, KINDS))
    settings.only(PLAIN if kind == "LORA" else {})
    return (DoRA if settings.get("use_dora") else KINDS[kind][0]).__name__


def stored(found):
    """{dtype: how many numbers there are of it}"""
    counts = Counter()
    for dtype, shape in found.values():
        counts[FLOATS.get(dtype, dtype)] += math.prod(shape)
    return dict(counts)


def lengths(found, name):
    """The first sides of all tensors of this name."""
    return sorted({shape[0] for n, (_, shape) in found.items() if shape and re.search(name, n)})
