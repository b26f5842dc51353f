"""The equations that `minipeft check --as` compares with, and the usual slips of each."""

from ..formula import FORMULAS
from . import attentions, heads, layers, losses

__all__ = ["FORMULAS", "attentions", "heads", "layers", "losses"]
