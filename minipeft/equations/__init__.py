"""The equations of the papers, each beside the library: `minipeft verify`.

`literal.py` is a transformer as the papers write it; each other file has the equations of a topic.
"""

from .catalogue import EQUATIONS, OPEN, verify
from .entry import Differs, Equal, Equation, Result

__all__ = ["EQUATIONS", "OPEN", "Differs", "Equal", "Equation", "Result", "verify"]
