"""How a frozen language model is adapted: a reference implementation in NumPy."""

from .adapt import PLAIN, Adaptation, Method, merge, stack
from .encoder import Bert, Encoder, MaskedLM
from .ensemble import ensemble, majority_vote, mean_probability
from .generate import generate
from .heads import Classifier, Features, SpanClassifier, TokenClassifier
from .hf import CheckpointError, load, load_adaptation, load_tokenizer, save
from .methods import (
    IA3,
    METHODS,
    Adapter,
    BitFit,
    DeepPrompt,
    DoRA,
    Encoded,
    FullFineTuning,
    LayerNormTuning,
    LoRA,
    MultiHeadAdapter,
    MultitaskPrompt,
    ParallelAdapter,
    PrefixTuning,
    Probe,
    PromptTuning,
    PseudoTokens,
    PTuning,
    PTuningV2,
    RandomWeights,
    nearest,
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
from .template import Template
from .tensor import Tensor, grad, no_grad
from .train import Trainer
from .transformer import Config, Decoder

__version__ = "0.1.0"
__all__ = [
    "AdamW",
    "Adaptation",
    "Adapter",
    "Bert",
    "BitFit",
    "Chain",
    "CheckpointError",
    "Classifier",
    "Config",
    "Decoder",
    "DeepPrompt",
    "DoRA",
    "Each",
    "Encoded",
    "Encoder",
    "Features",
    "FullFineTuning",
    "IA3",
    "LayerNormTuning",
    "LayerHead",
    "LoRA",
    "METHODS",
    "MaskedLM",
    "Memory",
    "Method",
    "MultiHeadAdapter",
    "MultitaskPrompt",
    "PLAIN",
    "PTuning",
    "PTuningV2",
    "ParallelAdapter",
    "PrefixTuning",
    "Probe",
    "PromptTuning",
    "PseudoTokens",
    "RandomWeights",
    "SpanClassifier",
    "Template",
    "Tensor",
    "TokenClassifier",
    "Trainer",
    "accuracy_by_layer",
    "control_labels",
    "ensemble",
    "every_layer",
    "generate",
    "grad",
    "keep_memory",
    "load",
    "load_adaptation",
    "load_tokenizer",
    "majority_vote",
    "mean_probability",
    "merge",
    "nearest",
    "no_grad",
    "pool_states",
    "save",
    "schedule",
    "stack",
    "train_probes",
]
