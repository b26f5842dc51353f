"""How a frozen language model is adapted: a reference implementation in NumPy."""

from .adapt import PLAIN, Adaptation, merge, stack
from .encoder import Bert, Encoder, MaskedLM
from .generate import generate
from .heads import Classifier, TokenClassifier
from .hf import CheckpointError, load, load_adaptation, load_tokenizer, save
from .methods import (
    METHODS,
    Adapter,
    Encoded,
    FullFineTuning,
    LoRA,
    PrefixTuning,
    Probe,
    PromptTuning,
)
from .mixture import Chain, Each
from .optim import AdamW, schedule
from .parallel import keep_memory
from .probing import (
    LayerHead,
    accuracy_by_layer,
    control_labels,
    every_layer,
    pool_states,
    train_probes,
)
from .reading import Memory
from .tensor import Tensor, grad, no_grad
from .train import Trainer
from .transformer import Config, Decoder

__version__ = "0.1.0"
__all__ = [
    "AdamW",
    "Adaptation",
    "Adapter",
    "Bert",
    "Chain",
    "CheckpointError",
    "Classifier",
    "Config",
    "Decoder",
    "Each",
    "Encoder",
    "Encoded",
    "FullFineTuning",
    "LayerHead",
    "LoRA",
    "METHODS",
    "MaskedLM",
    "Memory",
    "PLAIN",
    "PrefixTuning",
    "Probe",
    "PromptTuning",
    "Tensor",
    "TokenClassifier",
    "Trainer",
    "accuracy_by_layer",
    "control_labels",
    "every_layer",
    "generate",
    "grad",
    "keep_memory",
    "load",
    "load_adaptation",
    "load_tokenizer",
    "merge",
    "no_grad",
    "pool_states",
    "save",
    "schedule",
    "stack",
    "train_probes",
]
