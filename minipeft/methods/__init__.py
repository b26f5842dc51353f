"""The methods: a place (`targets`), a start, an equation (`apply`) or rows in front (`past`)."""

from .adapter import HOULSBY, PFEIFFER, Adapter
from .encoded import Encoded
from .fine_tuning import FullFineTuning, Probe
from .lora import LoRA
from .prefix import PrefixTuning
from .prompt import PromptTuning

METHODS = {
    "probe": Probe,
    "prompt": PromptTuning,
    "prefix": PrefixTuning,
    "adapter": Adapter,
    "lora": LoRA,
    "full": FullFineTuning,
}


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
    "METHODS",
    "PFEIFFER",
    "Adapter",
    "Encoded",
    "FullFineTuning",
    "LoRA",
    "PrefixTuning",
    "Probe",
    "PromptTuning",
    "method",
]
