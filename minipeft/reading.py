"""Shim: the old names of what is in adaptation/."""

from .adaptation.forward import Cache as Memory  # noqa: F401
from .adaptation.forward import Look  # noqa: F401
