"""Hugging Face's folders, both ways: a base model, its tokenizer, and what adapts it."""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ..adaptation.adaptation import Adaptation
from ..autograd.nn import Module
from ..model.transformer import Transformer
from ..storage.folders import replace_folder
from ..storage.headers import ZerosFile
from ..storage.json import CheckpointError, read_bytes, read_json
from ..storage.safetensors import SafetensorsFile, serialize
from .models import FAMILIES, family_of
from .peft import folder as peft

__all__ = ["CheckpointError", "load", "load_adaptation", "load_tokenizer", "save"]

BASE = Path(__file__).parent.parent / "world" / "base"  # the built-in ones
BUILT_IN = {None: BASE, "decoder": BASE, "encoder": BASE.with_name("encoder")}
TOKENIZER = "tokenizer.json", "tokenizer_config.json"
MODEL = "model.safetensors", "config.json", *TOKENIZER  # what a folder may hold, its mark first
WRONG = ArithmeticError, LookupError, MemoryError, RecursionError, TypeError, ValueError
TOKENIZER_MOST = 2**27  # bytes
ADAPTATION = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "reparametrization.safetensors",
    "metrics.jsonl",
    "labels.json",
    *TOKENIZER,
)


def load(folder=None) -> Transformer:
    """The model in a folder, or a built-in one: load() decodes, load("encoder") reads both ways.

    Of a language model it is a Decoder or a MaskedLM; a Classifier, TokenClassifier or
    SpanClassifier; and where there is no head Features or an Encoder: what the folder's
    `architectures` say.  It computes in float32, or a float64 file's.
    """
    return read(folder, SafetensorsFile)


def outline(folder=None) -> Transformer:
    """The model in a folder by the headers of its files: of zeros, which take no memory."""
    return read(folder, ZerosFile)


def read(folder, tensors):
    folder = Path(BUILT_IN.get(folder, folder))
    settings = read_json(folder / "config.json")
    kind = settings.field("model_type", "", str)
    if kind not in FAMILIES:
        known = " or ".join(map(repr, FAMILIES))
        told = f"model_type={kind!r} is not supported, only {known}"
        raise CheckpointError(f"{settings.path}: {told}")
    return FAMILIES[kind].load(folder, settings, tensors)


def load_tokenizer(folder=None) -> Tokenizer:
    """The tokenizer in a folder, or of the built-in model of that name."""
    path = Path(BUILT_IN.get(folder, folder)) / "tokenizer.json"
    text = read_bytes(path, TOKENIZER_MOST)
    try:
        return Tokenizer.from_buffer(text)
    except Exception as e:  # the library raises no narrower one
        raise CheckpointError(f"{path} is no tokenizer: {e}") from None


def load_adaptation(folder, model, resume=False, compat=None) -> Adaptation:
    """The adaptation in a folder, attached to the model.

    resume: with its encoder, to train on.  compat="peft": with PEFT's numbers also where these are
    a fault of it, as for padding before a prompt: docs/differences-from-peft.md lists them.
    """
    if compat not in (None, "peft") or compat and resume:
        told = "; to train on there is no other" if resume else ""
        raise ValueError(f"compat={compat!r}: there is None and 'peft'{told}")
    if not isinstance(model, Module):
        raise TypeError(f"an adaptation is of a model, not of a {type(model).__name__}")
    try:
        return peft.read(Path(folder), model, resume, compat)
    except CheckpointError:
        raise
    except WRONG as e:
        path = Path(folder, "adapter_config.json")
        raise CheckpointError(f"{path} holds no adaptation of this model: {e}") from e


def save(thing, folder, tokenizer=None, dtype=np.float32):
    """Write a model, or an adaptation, as a folder: whole, or not at all."""
    if isinstance(thing, Transformer):
        names, files = MODEL, family_of(thing.config).files(thing, dtype)
    elif isinstance(thing, Adaptation):
        names, files = ADAPTATION, peft.files(thing.to("cpu"))
    else:
        raise TypeError(f"save takes a model or an adaptation, not a {type(thing).__name__}")
    if not isinstance(tokenizer, Tokenizer | None):
        raise TypeError(f"the tokenizer is a Tokenizer, not a {type(tokenizer).__name__}")
    if tokenizer is not None:
        files |= dict(zip(TOKENIZER, (tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast"})))
    with replace_folder(folder, *names) as new:
        for name, content in files.items():
            (new / name).write_bytes(written(content, dtype))


def written(content, dtype):
    """The bytes of a file: of tensors and their metadata, of a tokenizer, or of JSON."""
    if isinstance(content, tuple):
        return serialize(*content, dtype)
    if isinstance(content, Tokenizer):
        return content.to_str(pretty=True).encode()
    return json.dumps(content, indent=2, sort_keys=True, default=lambda x: x.tolist()).encode()
