"""Hugging Face's folders: a base model, its tokenizer, and an adaptation, read and written."""

import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import Method
from ..autograd.nn import Module
from ..model.encoder_decoder import EncoderDecoder
from ..model.transformer import Transformer
from ..storage.folders import replace_folder
from ..storage.headers import ZerosFile
from ..storage.json import CheckpointError, read_json
from ..storage.safetensors import SafetensorsFile, serialize
from .models import FAMILIES, family_of
from .models.family import check_special_tokens
from .peft import folder as peft
from .peft.compat import PeftModel
from .peft.compat_encoder_decoder import PeftEncoderDecoder
from .quantized import check_not_quantized
from .tokenizer import TOKENIZER, TOKENIZER_FILES, read_tokenizer, tokenizer_files

BASE = Path(__file__).parent.parent / "world" / "base"
BUILT_IN: dict[str | Path | None, Path] = {
    None: BASE,
    "decoder": BASE,
    "encoder": BASE.with_name("encoder"),
    "seq2seq": BASE.with_name("seq2seq"),
}
GENERATION, POOLING = "generation_config.json", "1_Pooling"
MODEL_FILES = "model.safetensors", "config.json", GENERATION, POOLING, *TOKENIZER_FILES
ADAPTATION_FILES = (
    peft.ADAPTER,
    peft.CONFIG,
    peft.NETWORK,
    "metrics.jsonl",
    "labels.json",
    *TOKENIZER_FILES,
)


def load(folder: str | Path | None = None) -> Transformer:
    """Return the model in a folder of Hugging Face's, or a built-in one.

    folder: None or "decoder": the built-in decoder; "encoder": the built-in encoder; "seq2seq":
        the built-in encoder–decoder.

    `architectures` in the folder's config.json decides the class: Decoder, MaskedLM,
    EncoderDecoder, Classifier, TokenClassifier, SpanClassifier, or, without a head, Features or
    Encoder.  The numbers are float32, or float64 if those in the file are.  Raises CheckpointError
    for a malformed file.
    """
    return read_model(folder, SafetensorsFile)


def load_outline(folder: str | Path | None = None) -> Transformer:
    """Return the model in a folder with zeros for its numbers, which takes no memory."""
    return read_model(folder, ZerosFile)


def read_model(name, file_class):
    folder = Path(BUILT_IN.get(name, name))
    settings = read_json(folder / "config.json")
    check_not_quantized(folder, settings)
    model_type = settings.field("model_type", "", str)
    if model_type not in FAMILIES:
        raise CheckpointError(
            f"{settings.path}: model_type={model_type!r} is not supported, only "
            f"{' or '.join(map(repr, FAMILIES))}"
        )
    model = FAMILIES[model_type].load(folder, settings, file_class)
    if os.path.lexists(path := folder / GENERATION):
        model.generation_config = check_special_tokens(read_json(path))
        model.generation_config.check_depth()
    if os.path.lexists(path := folder / POOLING / "config.json"):
        model.pooling_config = read_json(path)
        model.pooling_config.check_depth()
    model.folder = None if name in BUILT_IN else str(name)
    if os.path.lexists(folder / TOKENIZER):
        model.read_tokenizer = partial(read_tokenizer, folder)
    return model


def load_tokenizer(folder: str | Path | None = None) -> Tokenizer:
    """Return the tokenizer in a folder, or that of the built-in model of this name: see `load`.

    It neither truncates nor pads, whatever tokenizer.json says.  Raises CheckpointError for a
    malformed file, and for a token whose id is not in the vocabulary of the folder's model.
    """
    return read_tokenizer(Path(BUILT_IN.get(folder, folder)))


def load_adaptation(
    folder: str | Path,
    model: Module,
    resume: bool = False,
    compat: str | None = None,
    methods: Iterable[type[Method]] = (),
) -> Adaptation | PeftModel:
    """Return the adaptation in a folder that `save` or PEFT wrote.

    folder: with adapter_config.json and adapter_model.safetensors.
    model: the base model it was made for, with the head that it was trained with, if any.
    resume: with its reparametrisation network, as for Encoded and PTuning, to continue training;
        otherwise with the output of that network alone, which computes the same.
    compat: "peft" returns a PeftModel, which computes PEFT's numbers also where PEFT is wrong, as
        for padding before a prompt: docs/differences-from-peft.md lists these cases.
    methods: classes of the reader's own, if the adaptation was saved with some: [Diagonal].

    Files are untrusted: whatever is malformed or made for another model raises CheckpointError, and
    nothing is imported because a file names it.
    """
    if compat not in (None, "peft"):
        raise ValueError(f"compat={compat!r} must be None or 'peft'")
    if compat and resume:
        raise ValueError("compat='peft' is not for training: leave out compat or resume=True")
    if not isinstance(model, Module):
        raise TypeError(f"model must be a model, not a {type(model).__name__}")
    as_peft = compat == "peft"
    γ = peft.read_adaptation(Path(folder), model, resume=resume, methods=methods, as_peft=as_peft)
    if not as_peft:
        return γ
    kind = PeftEncoderDecoder if isinstance(model, EncoderDecoder) else PeftModel
    return kind(model, γ, peft.task_type(Path(folder)))


def save(
    thing: Transformer | Adaptation | PeftModel,
    folder: str | Path,
    tokenizer: Tokenizer | None = None,
    dtype=np.float32,
) -> None:
    """Write a model or an adaptation as a folder, atomically.

    An adaptation is written in PEFT's format if PEFT has its method, and else in minipeft's own;
    of a method of the reader's own, its dataclass fields are written.
    Of a model and a tokenizer that were loaded, what else their folder says is written again as it
    was: other settings of config.json, generation_config.json, 1_Pooling, special tokens, the chat
    template.
    tokenizer: written into the same folder.  dtype: of all numbers: float16, float32,
    float64, or "bfloat16", which NumPy does not have.
    An earlier save in `folder` is replaced; raises CheckpointError for any other folder.
    """
    if isinstance(thing, Transformer):
        names: tuple[str, ...] = MODEL_FILES
        files = family_of(thing.config).files(thing, dtype)
        files |= {GENERATION: thing.generation_config} if thing.generation_config else {}
        files |= {f"{POOLING}/config.json": thing.pooling_config} if thing.pooling_config else {}
    elif isinstance(thing, Adaptation | PeftModel):
        γ = thing.adaptation if isinstance(thing, PeftModel) else thing
        names, files = ADAPTATION_FILES, peft.adaptation_files(γ.to("cpu"))
    else:
        hint = ": attach it first, method.attach(model, rng)" if isinstance(thing, Method) else ""
        raise TypeError(f"save takes a model or an adaptation; got {thing!r:.200}{hint}")
    if not isinstance(tokenizer, Tokenizer | None):
        raise TypeError(f"tokenizer must be a Tokenizer, not a {type(tokenizer).__name__}")
    files |= {} if tokenizer is None else tokenizer_files(tokenizer)
    with replace_folder(Path(folder), *names) as new:
        for name, content in files.items():
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_bytes(file_bytes(content, dtype))


def file_bytes(content, dtype) -> bytes:
    """Return the bytes of a file: of (arrays, metadata), of JSON, or the bytes themselves."""
    if isinstance(content, tuple):
        arrays, metadata = content
        return serialize(arrays, metadata, dtype)
    if isinstance(content, bytes):
        return content
    return json.dumps(content, indent=2, sort_keys=True, default=lambda x: x.tolist()).encode()
