"""The methods: a place (`targets`), a start, an equation (`apply`) or rows in front (`past`)."""

from .adapter import HOULSBY, PFEIFFER, Adapter
from .encoded import Encoded
from .fine_tuning import FullFineTuning, Probe
from .lora import LoRA
from .prefix import PrefixTuning
from .prompt import PromptTuning

__all__ = [
    "HOULSBY",
    "PFEIFFER",
    "Adapter",
    "Encoded",
    "FullFineTuning",
    "LoRA",
    "PrefixTuning",
    "Probe",
    "PromptTuning",
]
