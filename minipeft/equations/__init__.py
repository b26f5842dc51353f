"""The equations of the papers, each beside the library: `minipeft verify`.

`literal.py` is a transformer as the papers write it; each other file has the equations of a topic.
"""

from .catalogue import EQUATIONS, OPEN, verify
from .draw import Draw, columns, watch
from .entry import EXACT, Differs, Equal, Equation, Result, equation

__all__ = [
    "EQUATIONS",
    "EXACT",
    "OPEN",
    "Differs",
    "Draw",
    "Equal",
    "Equation",
    "Result",
    "columns",
    "equation",
    "verify",
    "watch",
]
