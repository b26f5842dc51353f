"""A table of numbers of one mechanism, and the layer that it is computed from."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.chain import LayerProxy
from ..autograd.backend import host
from ..autograd.nn import replace
from ..autograd.tensor import Tensor
from .reader import Reader
from .recording import Recorder


@dataclass
class Panel:
    """A table of numbers of one mechanism at one place.

    kind: key of MEASURES.  path: of the layer.  rows, columns: names of the N rows and M columns.
    values (N, M): the numbers.  terms: {symbol: (N, M)}, what the formula computes them from.
    words: (N, M) texts beside the numbers, or None.
    note: (name, number) of something to know about the table, such as a difference, or None.
    """

    kind: str
    path: str
    rows: list[str]
    columns: list[str]
    values: np.ndarray
    terms: dict[str, np.ndarray] = field(default_factory=dict)
    words: list[list[str]] | None = None
    note: tuple[str, float] | None = None


@dataclass
class Look:
    """One layer that a method adapts: what its mechanism is computed from.

    γ: the adaptation of the method alone.
    tokens: names of the rows that it reads, after those of a prefix.
    first: the number of virtual tokens of other methods among these rows, before its own.
    """

    reader: Reader
    γ: Adaptation
    recorder: Recorder
    tokens: list[str]
    path: str
    layer: Any
    first: int = 0

    @property
    def x(self):
        """The input of the layer: a tensor (1, T, D), or ids (1, T)."""
        x = self.recorder.inputs[self.path][None]
        return self.tensor(x) if x.dtype.kind == "f" else x

    def tensor(self, x) -> Tensor:
        """Return an array as a tensor on the device of the model."""
        return Tensor(np.asarray(x, like=self.reader.model.reference_array))

    @property
    def h(self) -> np.ndarray:
        """The output (T, D) of the layer without the method, for the same input."""
        return host(self.frozen(self.x).data)[0]

    @property
    def frozen(self) -> LayerProxy:
        """The layer, as an adaptation gets it; one that consists of others is not recorded."""
        forward = replace(self.recorder, inputs={}, outputs={})
        call = lambda layer, x: layer(x, forward) if layer.composite else layer(x)
        return LayerProxy(self.layer, call)

    def table(self, kind, columns, values, rows=None, **options) -> Panel:
        """Return a Panel of this layer; the rows are the tokens of its input, unless given.

        Relative positions have as many inputs as pairs of tokens, which get numbers.
        """
        if rows is None:
            N = len(values)
            rows = self.tokens[-N:] if N <= len(self.tokens) else [str(i) for i in range(N)]
        return Panel(kind, self.path, rows, columns, values, **options)
