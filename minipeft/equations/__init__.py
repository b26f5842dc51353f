"""The equations of the documents and the papers, each beside the library: `minipeft verify`.

`literal.py` is a transformer as the papers write it; then one file a section of the documents.
"""

from .catalogue import EQUATIONS, OPEN, verify
from .entry import Differs, Equal, Equation, Result

__all__ = ["EQUATIONS", "OPEN", "Differs", "Equal", "Equation", "Result", "verify"]
