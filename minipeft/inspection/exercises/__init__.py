"""Exercises: files with a docstring, hints and an empty body, and where the solutions are."""

from collections.abc import Callable
from importlib import resources
from inspect import getsourcefile, unwrap

from ...autograd.functional import attention
from ...feedback.dpo import DPO
from ...feedback.returns import gae
from ...methods import Adapter, LoRA, PrefixTuning, Probe, PromptTuning

SOLUTIONS: dict[str, Callable] = {  # {name: the function of the library that is the solution}
    "lora": LoRA.apply,
    "prefix": PrefixTuning.prepend,
    "prompt": PromptTuning.prepend,
    "adapter": Adapter.apply,
    "probe": Probe.apply,
    "attention": attention,
    "backward": attention,  # its `ds` is the derivative
    "gae": gae,
    "dpo": DPO.scores,
}


def text(name: str) -> str:
    """Return the file of an exercise."""
    return resources.files(__package__).joinpath(f"{name}.py.txt").read_text("utf-8")


def solution(name: str) -> str:
    """Return the path and the line of the library's own function, "…/lora.py:50"."""
    f = unwrap(SOLUTIONS[name])
    return f"{getsourcefile(f)}:{f.__code__.co_firstlineno}"
