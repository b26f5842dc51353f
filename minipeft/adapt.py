"""Shim: the old names of what is in adaptation/."""

from .adaptation.adaptation import Adaptation, bank  # noqa: F401
from .adaptation.adaptation import parameter as trained  # noqa: F401
from .adaptation.chain import LayerProxy as As  # noqa: F401
from .adaptation.merge import merge  # noqa: F401
from .adaptation.method import PLAIN, Method, listed, stack  # noqa: F401
