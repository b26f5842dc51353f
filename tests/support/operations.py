"""Every operation in one table: what it takes, and its value as a reader would write it.

The arguments of a row: axes between commas, an axis a letter or a product of letters; another
form after |.  The argument after * may be stretched: any axis of it 1, or missing in front.

B batch   T queries   S keys   I inputs   O outputs   D width   V vocabulary   N rows
K groups of heads   G heads in each   H heads   d width of a head.    B and T may be 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipeft.autograd import functional, ops
from minipeft.methods import lstm
from tests.support import formulas


@dataclass
class Row:
    op: Callable
    arguments: str
    formula: Callable  # as a reader would write it
    options: Callable = lambda n, rng: {}  # of the sizes n
    domain: Callable = lambda x: x
    analytic: bool = True


# -- inputs that an operation needs, beside its arguments -----------------------


def attention_masks(n, rng):
    """Keys that are hidden from a row, or from all of it; now and then from every query."""
    shape = rng.choice([n.B, 1]), 1, 1, rng.choice([n.T, 1]), n.S
    return {"masked": rng.random(shape) < rng.choice([0.3, 1.0], p=[0.9, 0.1]), "scale": 0.7}


def classes(n, rng):
    y = rng.integers(n.V, size=(n.B, n.T))
    return {"target": np.where(rng.random(y.shape) < 0.3, -100, y)}


def indices(n, rng):
    """An index of each kind, for an array (V, N, D)."""
    rows = rng.integers(n.V, size=(2, 4))
    kinds = [
        -1,
        (..., 0),
        (0, n.N - 1, -1),
        (slice(None, None, -1), None, slice(1, None)),
        rows,
        [*rows[0]],
        (rows, slice(None), rng.integers(n.D, size=4)),
        (slice(0, 0),),
    ]
    return {"at": kinds[rng.integers(len(kinds))]}


def span(n, rng):
    start, stop = sorted(rng.integers(n.S + 1, size=2))
    return {"start": start, "stop": stop, "axis": rng.choice([1, -2])}


def places(n, rng):
    """N of a matrix (I + N, O), none twice."""
    at = rng.choice((n.I + n.N) * n.O, n.N, replace=False)
    return np.stack([at // n.O, at % n.O], 1)


def scattered(p, at, shape):
    y = np.zeros((*p.shape[:-2], *shape))
    for i, (row, column) in enumerate(at):
        y[..., row, column] = p[..., 0, i]
    return y


def tokens(n, rng):
    return {"ids": rng.integers(n.V, size=(n.B, n.T))}


def apart(x):
    """Away from 0, on its own side of it."""
    return x + np.copysign(0.5, x)


def positive(x):
    return np.abs(x) + 0.5


# -- the table -------------------------------------------------------------------

LETTERS = "BTSIODVNKGHd"
TABLE = [
    Row(ops.add, "*B,T,D *B,T,D", lambda a, b: a + b),
    Row(ops.sub, "*B,T,D *B,T,D", lambda a, b: a - b),
    Row(ops.mul, "*B,T,D *B,T,D", lambda a, b: a * b),
    Row(ops.div, "*B,T,D *B,T,D", lambda a, b: a / b, domain=apart),
    Row(ops.power, "*B,T,D *B,T,D", lambda a, b: np.exp(b * np.log(a)), domain=positive),
    Row(
        ops.power,
        "B,T,D",
        lambda x, b: np.prod([x] * b, 0),
        lambda n, rng: {"b": int(rng.integers(2, 4))},
    ),
    Row(ops.exp, "B,T,D", lambda x: np.exp(x)),
    Row(ops.log, "B,T,D", lambda x: np.log(x), domain=positive),
    Row(ops.sqrt, "B,T,D", lambda x: x**0.5, domain=positive),
    Row(ops.tanh, "B,T,D", lambda x: np.sinh(x) / np.cosh(x)),
    Row(functional.relu, "B,T,D", lambda x: np.where(x > 0, x, 0), domain=apart, analytic=False),
    Row(functional.gelu, "B,T,D", formulas.gelu),
    Row(functional.exact_gelu, "B,T,D", formulas.exact_gelu, analytic=False),
    Row(functional.silu, "B,T,D", lambda x: x / (1 + np.exp(-x))),
    Row(
        ops.sum,
        "B,T,D",
        lambda x, axis, keepdims: np.sum(x, axis, keepdims=keepdims),
        lambda n, rng: {
            "axis": [None, 1, -1, (0, 2)][rng.integers(4)],
            "keepdims": bool(rng.integers(2)),
        },
    ),
    Row(
        functional.dropout,
        "B,T,D",
        lambda x, p, rng: np.where(rng.random(x.shape) < p, 0, x / (1 - p)),
        lambda n, rng: {"p": 0.3, "rng": rng},
    ),
    Row(
        ops.matmul,
        "B,T,I I,O | T,I I,O | B,T,I B,I,O | T,I B,I,O | B,1,T,I H,I,O",
        lambda a, b: np.einsum("...ti,...io->...to", a, b),
    ),
    Row(
        ops.matmul,
        "I I | T,I I | B,T,I I",
        lambda a, b: np.reshape([row @ b for row in a.reshape(-1, len(b))], a.shape[:-1]),
    ),
    Row(ops.matmul, "I I,O | I H,I,O", lambda a, b: np.einsum("i,...io->...o", a, b)),
    Row(
        functional.linear,
        "B,T,I I,O O | T,I I,O O | B,T,I B,I,O B,1,O | B,T,I I,O B,1,O",
        lambda x, W, b: np.einsum("...ti,...io->...to", x, W) + b,
    ),
    Row(ops.transpose, "B,T,D", lambda x: np.einsum("btd->bdt", x)),
    Row(ops.reverse_axes, "B,T,D", lambda x: np.einsum("btd->dtb", x)),
    Row(ops.reverse_axes, "T,D", lambda x: np.einsum("td->dt", x)),
    Row(
        ops.transpose_axes,
        "B,T,D",
        lambda x, axes: np.einsum("btd->dbt", x),
        lambda n, r: {"axes": (2, 0, 1)},
    ),
    Row(ops.flip, "B,T,D | T,D", lambda x: np.flip(x, -2)),
    Row(lstm.lstm, "S,I I,4H H,4H 1,4H | N,S,I N,I,4H N,H,4H N,1,4H", formulas.memory_cell),
    Row(
        ops.scatter,
        "1,N | B,1,N",
        scattered,
        lambda n, rng: {"at": places(n, rng), "shape": (n.I + n.N, n.O)},
    ),
    Row(
        functional.attention,
        "B,K,G,T,d B,K,1,S,d B,K,1,S,d | B,K,G,T,d B,K,1,S,d B,K,1,S,d B,1,1,1,S",
        formulas.attention,
        attention_masks,
    ),
    Row(
        functional.attention,
        "B,K,G,T,d B,K,1,S,d B,K,1,S,d | B,K,G,T,d B,K,1,S,d B,K,1,S,d 1,K,G,T,S",
        formulas.attention,
        lambda n, rng: {"scale": 0.7},
    ),
    Row(
        functional.layer_norm,
        "B,T,D D D | B,T,D B,1,D B,1,D",
        formulas.layer_norm,
        lambda n, r: {"eps": 0.1},
    ),
    Row(
        functional.rms_norm, "B,T,D D | B,T,D B,1,D", formulas.rms_norm, lambda n, rng: {"eps": 0.1}
    ),
    Row(ops.index, "V,N,D", formulas.picked, indices),
    Row(ops.lookup, "V,D | B,V,D", formulas.lookup, tokens),
    Row(ops.take, "N,T,D", formulas.rows_of, lambda n, rng: {"rows": rng.integers(n.N, size=n.B)}),
    Row(ops.narrow, "B,S,D", lambda x, start, stop, axis: x[:, start:stop], span),
    Row(
        ops.narrow, "B,T,D", lambda x, start, stop: x[..., :1], lambda n, r: {"start": 0, "stop": 1}
    ),
    Row(
        ops.concat,
        "B,T,D B,S,D B,N,D",
        lambda *xs, axis: np.hstack(xs),
        lambda n, rng: {"axis": rng.choice([1, -2])},
    ),
    Row(ops.stack, "B,T B,T B,T", lambda a, b, c: np.concatenate([a[None], b[None], c[None]])),
    Row(
        ops.pad_left,
        "B,T,D",
        lambda x, P: np.hstack([np.zeros((len(x), P - x.shape[1], x.shape[2])), x]),
        lambda n, rng: {"P": n.T + n.N - 1},
    ),
    Row(
        ops.reshape,
        "B,T,KD",
        lambda x, shape: np.array(x.ravel().tolist()).reshape(shape),
        lambda n, rng: {"shape": (n.B * n.T, n.K, n.D)},
    ),
    Row(
        ops.broadcast_to,
        "*B,T,D",
        lambda x, shape: x + np.zeros(shape),
        lambda n, rng: {"shape": (n.B, n.T, n.D)},
    ),
    Row(
        functional.split_heads, "B,T,KGd", formulas.split_heads, lambda n, rng: {"K": n.K, "d": n.d}
    ),
    Row(functional.join_heads, "B,K,G,T,d", formulas.join_heads),
    Row(
        functional.rotate,
        "B,T,H2d",
        formulas.rotate,
        lambda n, rng: dict(zip("cs", rng.standard_normal((2, n.B, n.T, 1, n.d), "f"))),
    ),
    Row(
        functional.cross_entropy,
        "B,T,V",
        formulas.cross_entropy,
        lambda n, r: classes(n, r) | {"count": 3},
    ),
    Row(functional.log_probability, "B,T,V", formulas.log_probability, classes),
    Row(
        functional.clip,
        "B,T,D",
        lambda x, low, high: np.where(x < low, low, np.where(x > high, high, x)),
        lambda n, rng: {"low": -0.5, "high": rng.integers(9, size=(n.B, n.T, n.D)) / 8},
        lambda x: (np.rint(8 * x) + 0.5) / 8,
        analytic=False,
    ),
    Row(functional.log_sigmoid, "B,T,D", lambda x: -np.log(1 + np.exp(-x)), analytic=False),
]


# -- examples of a row --------------------------------------------------------


class Example:
    """A row with arrays, all of them read-only: arguments `xs`, and options."""

    def __init__(self, row, form, sizes, seed):
        self.row, self.n, self.seed = row, SimpleNamespace(**sizes), seed
        rng = np.random.default_rng(seed)
        shapes = [shape_of(argument, self.n, rng) for argument in form.split()]
        self.xs = [laid_out(row.domain(rng.standard_normal(shape)), rng) for shape in shapes]

    def options(self):
        """The same at every call."""
        options = self.row.options(self.n, np.random.default_rng([self.seed, 1]))
        return {name: sealed(x) for name, x in options.items()}

    def __call__(self, *xs):
        return self.row.op(*xs, **self.options())

    def alone(self, i):
        """The operation as a function of argument i."""

        def f(x):
            xs = [fixed.astype(x.dtype) for fixed in self.xs]
            xs[i] = x
            return self(*xs)

        return f


def shape_of(argument, n, rng):
    axes = argument.lstrip("*").split(",")
    shape = [math.prod(int(c) if c.isdigit() else vars(n)[c] for c in axis) for axis in axes]
    if argument[0] == "*":
        shape = [1 if rng.random() < 0.3 else size for size in shape]
        shape = shape[rng.choice(4, p=[0.7, 0.1, 0.1, 0.1]) :]
    return tuple(shape)


def laid_out(x, rng):
    """The same numbers, as they may lie in memory: across, with gaps, backwards."""
    x = np.asarray(x)
    if x.ndim:
        gaps = np.zeros((*x.shape, 2), x.dtype)
        gaps[..., 0] = x
        x = [x, x.T.copy().T, gaps[..., 0], x[..., ::-1].copy()[..., ::-1]][rng.integers(4)]
    return sealed(x)


def sealed(x):
    if isinstance(x, np.ndarray):
        x.flags.writeable = False
    return x


@st.composite
def examples(draw, row):
    form = draw(st.sampled_from(row.arguments.split(" | ")))
    sizes = {c: draw(st.integers(0 if c in "BT" else 1, 3)) for c in LETTERS}
    return Example(row, form, sizes, draw(st.integers(0, 2**32 - 1)))


every_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.op.__name__)


def law(test):
    """Run a test of (row, example) for every row and many examples of it."""

    @every_row
    @settings(max_examples=40, deadline=None, derandomize=True, database=None)
    @given(data=st.data())
    def each(row, data):
        test(row, data.draw(examples(row)))

    return each
