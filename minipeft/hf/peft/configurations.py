"""Methods that PEFT's configurations describe, to attach and to train here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...adaptation.chain import MethodChain
from ...adaptation.method import Method
from ...methods import Encoded, MultitaskPrompt, PrefixTuning, Probe, PromptTuning, PTuning
from ...storage.json import CheckpointError, Settings, read_json
from ..models import family_of
from .folder import PEFT_TYPES, PROMPT_LEARNING, from_peft
from .naming import WITH_HEAD
from .native import as_checkpoint_error
from .prompts import BOTH_STACKS, DECODER_ATTENTION, check_base, task_fields, words_of

STARTS: dict[str, tuple] = {  # settings of how training starts, and the values supported here
    "init_lora_weights": (True, "gaussian"),
    "init_ia3_weights": (True,),
    "tokenizer_kwargs": ({},),
    "prompt_tuning_init": ("TEXT", "RANDOM", "SAMPLE_VOCAB"),
    "encoder_reparameterization_type": ("MLP", "LSTM"),
}
SHARED = "; to start from a trained one, see the functions of minipeft.methods.multitask"


def method_from_config(config: dict | str | Path, model) -> Method:
    """Return the method that a configuration of PEFT describes, to attach to `model` and train.

    config: the fields, as PromptTuningConfig(...).to_dict() has them, or the path of an
        adapter_config.json.
    model: the base model, with the head that is trained, if any.
    What starts at random is drawn as the papers draw it, not as PEFT does: of RANDOM, the prompt
    is uniform from -½ to ½; of SAMPLE_VOCAB, the words are frequent ones.
    Raises CheckpointError for a setting that is not supported, or does not fit the model.
    """
    if isinstance(config, dict):
        settings = Settings(config, "the configuration")
    else:
        settings = read_json(Path(config))
    peft_type = settings.field("peft_type", "", str)
    if peft_type not in PEFT_TYPES:
        raise CheckpointError(
            f"{settings.path}: peft_type={peft_type!r} must be one of {', '.join(PEFT_TYPES)}"
        )
    shared = peft_type == "MULTITASK_PROMPT_TUNING"
    settings.check_supported(STARTS, SHARED if shared else "")
    with as_checkpoint_error(settings.path):
        if peft_type in PROMPT_LEARNING:
            check_base(settings, model.config)
            methods = [prompt_method(peft_type, settings, model.config)]
        else:
            methods = [γ.method for γ in from_peft(settings, NoTensors(settings.path), model, [])]
        task = settings.field("task_type", None, str)
        if task in WITH_HEAD and type(model) in family_of(model.config).head_names:
            methods.append(Probe())
        return methods[0] if len(methods) == 1 else MethodChain(*methods)


class NoTensors(dict):
    """A file without tensors, from which any tensor is read as zeros."""

    def __init__(self, path):
        self.path, self.used = path, set()

    def require(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return zeros of a shape."""
        return np.zeros(shape, "f4")


def prompt_method(peft_type: str, settings: Settings, c) -> Method:
    """Return the method of a prompt or a prefix for a model with the configuration c."""
    length = settings.field("num_virtual_tokens", None, int)
    if length is None:
        raise CheckpointError(f"{settings.path} needs num_virtual_tokens")
    if peft_type == "PROMPT_TUNING":
        return PromptTuning(length, **words_of(settings))
    if peft_type == "MULTITASK_PROMPT_TUNING":
        fields = words_of(settings) | task_fields(settings)
        if c.decoder_layers and settings.field("num_transformer_submodules", 2, int) == 2:
            fields["targets"] = BOTH_STACKS
        return MultitaskPrompt(length, **fields)
    width: Any = settings.field("encoder_hidden_size", c.width, int)
    if peft_type == "PREFIX_TUNING":
        settings.check_supported({"init_weights": ()}, "; see docs/differences-from-peft.md")
        projected = settings.field("prefix_projection", False, bool)
        prefix = PrefixTuning(length)
        if c.decoder_layers:
            prefix = replace(prefix, targets=DECODER_ATTENTION)
        return Encoded(prefix, width) if projected else prefix
    template = f"[P]*{length} {{x}}"
    if settings.field("encoder_reparameterization_type", "MLP", str) == "MLP":
        settings.check_supported({"encoder_hidden_size": (c.width,)})
        return PTuning(template, "mlp", 3)
    encoders = {c.width: "lstm", c.width // 2: "lstm-half"}
    settings.check_supported({"encoder_hidden_size": (*encoders,), "encoder_dropout": (0, 0.0)})
    return PTuning(template, encoders[width], settings.field("encoder_num_layers", 2, int))
