"""Hugging Face's formats: models of transformers, adaptations of PEFT, tokenizers."""

from ..storage.json import CheckpointError
from .peft.compat import PeftModel
from .peft.configurations import method_from_config
from .pretrained import load, load_adaptation, load_outline, load_tokenizer, save

__all__ = [
    "CheckpointError",
    "PeftModel",
    "load",
    "load_adaptation",
    "load_outline",
    "load_tokenizer",
    "method_from_config",
    "save",
]
