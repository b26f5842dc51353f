"""Folders of models and of adaptations: which is which, and what an adaptation stands on."""

import re
from pathlib import Path

from .. import hf
from ..hf.models.family import BARE, HEADS, POOL
from ..hf.peft.folder import TASKS
from ..model.heads import Classifier, Features, SpanClassifier
from ..storage.headers import headers
from ..storage.json import parsed, present

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
HEAD = re.compile(r"\b(score|classifier|qa_outputs)\.(weight|W)$")
NETWORKS = {task: network for network, task in TASKS.items() if network in HEADS}
NETWORKS |= {network.__name__: network for network in HEADS}  # as we note it ourselves


def place(folder):
    """The path of a folder, or of the built-in model of that name."""
    return Path(hf.BUILT_IN.get(folder, folder))


def adapts(folder):
    """Does it hold an adaptation?"""
    return (folder / CONFIG).is_file()


def beside(folder, model):
    """The network that the adaptation in a folder was made for: the model, or its head's."""
    task = parsed(present(folder / CONFIG)).field("task_type", None, str)
    if task == "FEATURE_EXTRACTION":
        return model if isinstance(model, BARE) else Features(model)
    found, metadata = headers(folder / TENSORS)
    for name, (_, shape) in found.items():
        if (head := HEAD.search(name)) and len(shape) == 2:
            kind = NETWORKS.get(task or metadata.get("network"), Classifier)
            classes = shape[head[2] == "W"]
            if type(model) is kind and model.score.shape[1] == classes:
                return model
            bias = f"{name[: head.start(2)]}{'bias' if head[2] == 'weight' else 'b'}" in found
            if kind is Classifier:
                return Classifier(model, classes, POOL[model.causal], bias)
            return kind(model, bias) if kind is SpanClassifier else kind(model, classes, bias)
    return model


def loaded(folder, model):
    """The adaptation in a folder, and the network it stands on."""
    network = beside(folder, model)
    return hf.load_adaptation(folder, network), network
