"""How a frozen language model is adapted: a reference implementation in NumPy."""

from .adaptation.adaptation import Adaptation
from .adaptation.cache import Cache
from .adaptation.chain import Chain
from .adaptation.each import Each
from .adaptation.merge import fold, merge
from .adaptation.method import PLAIN, Method, stack
from .autograd.tensor import Tensor, grad, no_grad
from .checking.check import check
from .feedback.comparisons import Comparisons
from .feedback.demonstrations import Demonstrations
from .feedback.dpo import DPO
from .feedback.ppo import PPO
from .feedback.ppo_config import PPOConfig
from .feedback.ranking import BestOf, RewardModel, ValueModel
from .hf import CheckpointError, load, load_adaptation, load_tokenizer, save
from .inspection.trace import trace
from .inspection.view import inspect
from .methods import (
    IA3,
    METHODS,
    Adapter,
    BitFit,
    DeepPrompt,
    DoRA,
    Encoded,
    FullFineTuning,
    Fusion,
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
    combine,
    nearest,
)
from .methods.template import Template
from .model.bert import BertConfig, DistilBertConfig, Encoder, MaskedLM, RobertaConfig
from .model.config import Config
from .model.encoder_decoder import BartConfig, EncoderDecoder, T5Config
from .model.ensemble import ensemble, majority_vote, mean_probability
from .model.generate import generate
from .model.heads import Classifier, Features, SpanClassifier, TokenClassifier
from .model.special_tokens import eos_ids
from .model.transformer import Decoder
from .prompting.classifier import PromptClassifier
from .prompting.verbalizer import Verbalizer
from .tasks.probing import (
    LayerHead,
    accuracy_by_layer,
    control_labels,
    every_layer,
    pool_states,
    train_hidden_probes,
    train_probes,
)
from .training.optim import AdamW, schedule
from .training.parallel import keep_memory
from .training.trainer import Trainer

HABITS = {  # {what PEFT and Transformers have: what is written here}
    "get_peft_model": "write γ = LoRA().attach(model, rng), and then model(ids, γ)",
    "LoraConfig": r"write LoRA(rank=8, alpha=16, targets=r'attn\.(q|v)$')",
    "PeftModel": "write γ = load_adaptation(folder, model), and then model(ids, γ)",
    "AutoModelForCausalLM": "write load(folder)",
    "AutoTokenizer": "write load_tokenizer(folder)",
    "from_pretrained": "write load(folder)",
}


def __getattr__(name):
    hint = f": {HABITS[name]}" if name in HABITS else ""
    raise AttributeError(f"module 'minipeft' has no attribute {name!r}{hint}", name=name)


__version__ = "0.2.0"
__all__ = [
    "AdamW",
    "Adaptation",
    "Adapter",
    "BartConfig",
    "BertConfig",
    "BestOf",
    "BitFit",
    "Cache",
    "Chain",
    "CheckpointError",
    "Classifier",
    "Comparisons",
    "Config",
    "DPO",
    "Decoder",
    "DeepPrompt",
    "Demonstrations",
    "DistilBertConfig",
    "DoRA",
    "Each",
    "Encoded",
    "Encoder",
    "EncoderDecoder",
    "Features",
    "FullFineTuning",
    "Fusion",
    "IA3",
    "LayerNormTuning",
    "LayerHead",
    "LoRA",
    "METHODS",
    "MaskedLM",
    "Method",
    "MultiHeadAdapter",
    "MultitaskPrompt",
    "PLAIN",
    "PPO",
    "PPOConfig",
    "PTuning",
    "PTuningV2",
    "ParallelAdapter",
    "PrefixTuning",
    "Probe",
    "PromptClassifier",
    "PromptTuning",
    "PseudoTokens",
    "RandomWeights",
    "RewardModel",
    "RobertaConfig",
    "SpanClassifier",
    "T5Config",
    "Template",
    "Tensor",
    "TokenClassifier",
    "Trainer",
    "ValueModel",
    "Verbalizer",
    "accuracy_by_layer",
    "check",
    "control_labels",
    "combine",
    "ensemble",
    "eos_ids",
    "every_layer",
    "fold",
    "generate",
    "grad",
    "inspect",
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
    "trace",
    "train_hidden_probes",
    "train_probes",
]
