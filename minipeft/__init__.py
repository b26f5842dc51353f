"""How a frozen language model is adapted: a reference implementation in NumPy."""

from .adapt import PLAIN, Adaptation, merge, stack
from .heads import Classifier
from .methods import Adapter, Encoded, FullFineTuning, LoRA, PrefixTuning, Probe, PromptTuning
from .mixture import Chain, Each
from .reading import Memory
from .tensor import Tensor, grad, no_grad
from .transformer import Config, Decoder

__all__ = [
    *("Config", "Decoder", "Classifier", "Memory"),
    *("Adaptation", "PLAIN", "Chain", "Each", "stack", "merge"),
    *("PromptTuning", "PrefixTuning", "Encoded", "Adapter", "LoRA", "FullFineTuning", "Probe"),
    *("Tensor", "grad", "no_grad"),
]
