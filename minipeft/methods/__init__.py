"""The methods: a place (`targets`), a start, an equation (`apply`) or rows in front (`past`)."""

from .adapter import HOULSBY, PFEIFFER, Adapter
from .bitfit import BitFit, RandomWeights, biases
from .deep import DeepPrompt
from .dora import DoRA
from .encoded import Encoded, Reparametrised
from .fine_tuning import FullFineTuning, LayerNormTuning, Probe
from .ia3 import IA3
from .lora import LoRA
from .multitask import MultitaskPrompt
from .parallel import MultiHeadAdapter, ParallelAdapter
from .prefix import PrefixTuning
from .prompt import PromptTuning, nearest
from .pseudo import PseudoTokens
from .ptuning import PTuning
from .ptuning2 import PTuningV2

METHODS = {
    "probe": Probe,
    "prompt": PromptTuning,
    "pseudo": PseudoTokens,
    "ptuning": PTuning,
    "multitask": MultitaskPrompt,
    "deep": DeepPrompt,
    "prefix": PrefixTuning,
    "ptuning2": PTuningV2,
    "adapter": Adapter,
    "parallel": ParallelAdapter,
    "multihead": MultiHeadAdapter,
    "lora": LoRA,
    "dora": DoRA,
    "ia3": IA3,
    "bitfit": BitFit,
    "random": RandomWeights,
    "norms": LayerNormTuning,
    "full": FullFineTuning,
}


KINDS = "probe prompt prefix adapter lora bitfit full".split()  # one of each kind


def method(name, **fields):
    """The method of that name, with these of its fields; ValueError for what it has not."""
    if name not in METHODS:
        raise ValueError(f"no method {name!r}; there is {', '.join(METHODS)}")
    known = METHODS[name].__dataclass_fields__
    for field, value in fields.items():
        if field not in known:
            raise ValueError(f"{name} has no field {field!r}; it has {', '.join(known)}")
        kind = {float: (int, float), tuple: (tuple, list)}.get(known[field].type, known[field].type)
        if not isinstance(value, kind):
            kind = known[field].type.__name__
            raise ValueError(f"{name}: {field}={value!r} must be of the kind {kind}")
    return METHODS[name](**fields)


__all__ = [
    "HOULSBY",
    "KINDS",
    "METHODS",
    "PFEIFFER",
    "Adapter",
    "BitFit",
    "DeepPrompt",
    "DoRA",
    "Encoded",
    "FullFineTuning",
    "IA3",
    "LayerNormTuning",
    "LoRA",
    "MultiHeadAdapter",
    "MultitaskPrompt",
    "PTuning",
    "PTuningV2",
    "ParallelAdapter",
    "PrefixTuning",
    "Probe",
    "PromptTuning",
    "PseudoTokens",
    "RandomWeights",
    "Reparametrised",
    "biases",
    "method",
    "nearest",
]
