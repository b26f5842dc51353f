"""Folders of models and of adaptations, and the network that an adaptation was made for."""

import json
import os
import re
from pathlib import Path

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..hf.models.family import HEAD_SUFFIXES, HEADLESS
from ..hf.peft.folder import TASK_TYPES
from ..hf.peft.native import as_checkpoint_error
from ..hf.pretrained import BUILT_IN
from ..model.heads import Classifier, Features, SpanClassifier
from ..model.transformer import Transformer
from ..storage.headers import read_shapes
from ..storage.json import CheckpointError, hub_hint, parse_json, read_json
from ..tasks.classify import classifier

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
COPY = r"(?:modules_to_save\.(?:\w+\.)?)?"  # PEFT may write a head a second time
HEAD = re.compile(rf"\b(score|classifier|qa_outputs)\.{COPY}(?:out_proj\.)?(weight|W)$")
NETWORKS = {task: network for network, task in TASK_TYPES.items() if network in HEAD_SUFFIXES}
NETWORKS |= {network.__name__: network for network in HEAD_SUFFIXES}  # minipeft's metadata


def folder_path(name: str | None) -> Path:
    """Return the path of a folder, or of the built-in model of that name."""
    return Path(BUILT_IN.get(name, name))


def holds_adaptation(folder: Path) -> bool:
    """Return whether the folder holds an adaptation; otherwise it should hold a model."""
    return (folder / CONFIG).is_file()


def base_of(model: str | None, *adaptations: Path | None) -> str | Path | None:
    """Return the base model of adaptations for `hf.load`: `model`, if it is not None.

    Otherwise it is the folder that the adaptations name, or the built-in model that they were made
    for; None is the built-in decoder.
    """
    if model is not None:
        return model
    named = [named_base(folder) for folder in adaptations if folder]
    bases = {base.resolve() if isinstance(base, Path) else base: base for base in named}
    if len(bases) > 1:
        listed = ", ".join(sorted(str(base or "decoder") for base in bases.values()))
        raise ValueError(f"the adaptations have different base models, {listed}: give --model")
    return next(iter(bases.values()), None)


def named_base(folder: Path) -> str | Path | None:
    """Return the folder that an adaptation names as its base model, or `built_in_base`."""
    settings = read_json(folder / CONFIG)
    name = settings.field("base_model_name_or_path", "", str)
    if name and not os.path.isdir(name):
        raise CheckpointError(
            f"{settings.path} names the base model {name!r:.200}, and there is no such folder: "
            f"give the folder of that model, --model FOLDER{hub_hint(Path(name))}"
        )
    return Path(name) if name else built_in_base(folder)


def built_in_base(folder: Path) -> str | None:
    """Return the name of a built-in model of the sizes that an adaptation was made for.

    None: the decoder, which is also for an adaptation that does not say, and for other sizes.
    """
    _, metadata = read_shapes(folder / TENSORS)
    made_for = parse_json(metadata.get("base", "{}"), folder / TENSORS)
    for name in ("encoder", "seq2seq"):
        sizes = json.loads(json.dumps(vars(hf.load_outline(name).config)))
        if made_for.items() >= sizes.items():
            return name
    return None


def network_for(folder: Path, model: Transformer) -> Transformer:
    """Return the network that the adaptation in a folder was made for.

    It is the model, with a head if the adaptation has one: of the kind that `task_type` says, with
    as many classes as the adaptation's head, and with the pool that it was trained with.
    """
    task = read_json(folder / CONFIG).field("task_type", None, str)
    if task == "FEATURE_EXTRACTION":
        return model if isinstance(model, HEADLESS) else Features(model)
    tensors, metadata = read_shapes(folder / TENSORS)
    pool = parse_json(metadata.get("base", "{}"), folder / TENSORS).field("pool", None, str)
    for name, (_, shape) in tensors.items():
        if (head := HEAD.search(name)) and len(shape) == 2:
            network = NETWORKS.get(task or metadata.get("network"), Classifier)
            classes = shape[head[2] == "W"]
            same = type(model) is network and model.score.shape[1] == classes
            if same and pool in (None, getattr(model, "pool", None)):
                return model
            bias = f"{name[: head.start(2)]}{'bias' if head[2] == 'weight' else 'b'}" in tensors
            if network is Classifier:
                with as_checkpoint_error(folder / TENSORS):
                    return classifier(model, classes, bias, pool)
            if network is SpanClassifier:
                return SpanClassifier(model, bias)
            return network(model, classes, bias)
    return model


def load_with_network(folder: Path, model: Transformer) -> tuple[Adaptation, Transformer]:
    """Return the adaptation in a folder, and the network that it adapts."""
    network = network_for(folder, model)
    return hf.load_adaptation(folder, network), network
