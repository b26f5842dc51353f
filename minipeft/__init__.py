"""How a frozen language model is adapted: a reference implementation in NumPy."""

from .adapt import PLAIN, Adaptation, merge, stack
from .heads import Classifier
from .methods import Adapter, Encoded, FullFineTuning, LoRA, PrefixTuning, Probe, PromptTuning
from .mixture import Chain, Each
from .reading import Memory
from .tensor import Tensor, grad, no_grad
from .transformer import Config, Decoder

__all__ = [
    "PLAIN",
    "Adaptation",
    "Adapter",
    "Chain",
    "Classifier",
    "Config",
    "Decoder",
    "Each",
    "Encoded",
    "FullFineTuning",
    "LoRA",
    "Memory",
    "PrefixTuning",
    "Probe",
    "PromptTuning",
    "Tensor",
    "grad",
    "merge",
    "no_grad",
    "stack",
]
