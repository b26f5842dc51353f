"""The families of models that are read and written."""

from ...storage.json import CheckpointError
from .bert import BERT
from .gpt2 import GPT2
from .llama import LLAMA

ALL = GPT2, LLAMA, BERT
FAMILIES = {model_type: family for family in ALL for model_type in family.stems}


def family_of(c):
    """The family whose format holds a configuration."""
    lacks = {family: family.lacks(c) for family in ALL}
    if found := [family for family, lack in lacks.items() if not lack]:
        return found[0]
    raise CheckpointError(f"no format holds this configuration: {'; '.join(lacks.values())}")
