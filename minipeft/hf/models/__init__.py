"""The families of models whose folders can be read and written.

To add one, write its table, a Family as in gpt2.py, and list it here.
"""

from functools import cache

from ...model.config import Config
from ...storage.json import CheckpointError
from .bart import BART
from .bert import BERT
from .distilbert import DISTILBERT
from .family import Family
from .gpt2 import GPT2
from .llama import LLAMA
from .roberta import ROBERTA
from .t5 import T5, T5_GATED

ALL = GPT2, LLAMA, BERT, ROBERTA, DISTILBERT, T5_GATED, T5, BART
FAMILIES = {model_type: family for family in ALL for model_type in family.class_prefixes}


@cache
def family_of(config: Config) -> Family:
    """Return the family whose folders can hold a model of this configuration."""
    reasons = {family: family.unsupported(config) for family in ALL}
    if possible := [family for family, reason in reasons.items() if reason is None]:
        return possible[0]
    raise CheckpointError(
        f"no family of Hugging Face's models has this configuration: {'; '.join(reasons.values())}"
    )
