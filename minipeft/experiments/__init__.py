"""Experiments that measure what documents and papers claim: one file for each claim."""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def experiments() -> dict[str, ModuleType]:
    """Return the modules of all experiments, by the id of their claim: {"CL-1": …}, in order."""
    modules = [import_module(f".{m.name}", __name__) for m in iter_modules(__path__)]
    by_id = {m.CLAIM.id: m for m in modules if hasattr(m, "CLAIM")}
    return dict(sorted(by_id.items(), key=lambda item: int(item[0].removeprefix("CL-"))))
