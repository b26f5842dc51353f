"""Shim: the old names of what is in adaptation/."""

from .adaptation.chain import Chain  # noqa: F401
from .adaptation.each import Each  # noqa: F401
