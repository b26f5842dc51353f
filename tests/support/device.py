"""A device without a device: arrays that keep CuPy's rules, computed by NumPy, so in the same bits.

They answer NumPy's calls by NEP 13, 18 and 35, as cupy.ndarray does, and refuse what it refuses:
arrays of the host, being read but by `get` and the like, functions that CuPy has not.  They also
refuse what CuPy gets silently wrong: an index out of range (it wraps around), and an assignment to
one place twice (either value may stay).  To the rest they count what it costs.
"""

from collections import Counter
from contextlib import contextmanager

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minipeft.autograd import backend
from minipeft.autograd.tensor import Tensor

VIEWS = {np.atleast_2d, np.broadcast_to, np.empty_like, np.split, np.squeeze}
FUNCTIONS = VIEWS | {
    np.arange,
    np.array,
    np.array_equal,
    np.asarray,
    np.clip,
    np.concatenate,
    np.copyto,
    np.einsum,
    np.full_like,
    np.ones,
    np.ones_like,
    np.pad,
    np.stack,
    np.vdot,
    np.zeros,
    np.zeros_like,
}
UFUNCS = {
    np.absolute,
    np.add,
    np.bitwise_and,
    np.divide,
    np.equal,
    np.exp,
    np.fmax,
    np.greater,
    np.greater_equal,
    np.isfinite,
    np.isnan,
    np.less,
    np.less_equal,
    np.log,
    np.log1p,
    np.matmul,
    np.maximum,
    np.minimum,
    np.multiply,
    np.negative,
    np.not_equal,
    np.power,
    np.rint,
    np.sqrt,
    np.subtract,
    np.tanh,
}
METHODS = "all", "argmax", "astype", "copy", "max", "mean", "min", "sum", "take"

name = "fake"  # where the laws are held beside the host: see conftest.py
total = Counter()


@contextmanager
def counted():
    """What happens inside, by kind.

    launches: calls that compute; each is one kernel of CuPy's or, as einsum, a few
    uploads: arrays brought from the host
    waits: values read by the host, for which it waits until all that was launched is done
    """
    before, found = total.copy(), Counter()
    yield found
    found.update(total - before)


class ndarray(NDArrayOperatorsMixin):
    """See above.  Called as cupy.array: a copy of x, brought from the host if it is there."""

    def __init__(self, x, dtype=None):
        total["launches" if isinstance(x, ndarray) else "uploads"] += 1
        self.own = np.array(x.own if isinstance(x, ndarray) else x, dtype)

    shape, ndim, dtype, size, nbytes, real, imag = (
        property(lambda self, name=name: getattr(self.own, name))
        for name in ("shape", "ndim", "dtype", "size", "nbytes", "real", "imag")
    )
    T = property(lambda self: up(self.own.T))

    # -- what computes

    def __array_ufunc__(self, f, method, *xs, out=None, **options):
        if any(isinstance(x, Tensor) for x in xs):
            return NotImplemented  # as CuPy does for types that it doesn't know
        known = method == "__call__" or (f is np.add and method == "at")
        if f not in UFUNCS or not known or options:
            raise TypeError(f"not known to be CuPy's: {f.__name__}.{method}(…, {options})")
        total["launches"] += 1
        if out is None:
            return up(getattr(f, method)(*down(xs)))
        getattr(f, method)(*down(xs), out=down(out))
        return out[0]

    def __array_function__(self, f, token_types, args, options):
        if f not in FUNCTIONS:
            raise TypeError(f"not known to be CuPy's: {f.__name__}")
        if f is np.array:
            return ndarray(*args, **options)
        if f is np.asarray:
            return as_device(*args, **options)
        total["launches"] += f not in VIEWS
        return up(f(*down(args), **{name: down(x) for name, x in options.items()}))

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(f"not known to be CuPy's: ndarray.{name}")

        def method(*args, **options):
            if not {"axis", "keepdims", "copy"} >= set(options) or any(
                isinstance(x, tuple) and not x for x in args
            ):
                raise TypeError(f"not known to be CuPy's: {name}(*{args}, **{options})")
            total["launches"] += 1
            return up(getattr(self.own, name)(*down(args), **options))

        return method

    # -- what is a view, if it can be

    def reshape(self, *shape):
        y = self.own.reshape(*shape)
        total["launches"] += y.base is None
        return up(y)

    def transpose(self, *axes):
        return up(self.own.transpose(*axes))

    def swapaxes(self, a, b):
        return up(self.own.swapaxes(a, b))

    def __getitem__(self, at):
        at, picked = index(at)
        total["launches"] += picked
        return up(self.own[at])

    def __setitem__(self, at, x):
        at, picked = index(at)
        if picked and not unique(np.arange(self.size).reshape(self.shape)[at]):
            raise IndexError("two values for one place: which of them stays is not defined")
        total["launches"] += 1
        self.own[at] = down(x)

    def __len__(self):
        return len(self.own)

    # -- what the host reads

    def get(self):
        total["waits"] += 1
        return self.own.copy()

    def item(self):
        return self.get().item()

    def __bool__(self):
        return bool(self.get())

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __array__(self, *args, **options):
        raise TypeError("an array of the device is read by nobody unasked: host(x)")


def up(x):
    """What NumPy answers, as arrays of the device."""
    if isinstance(x, (np.ndarray, np.generic)):
        y = object.__new__(ndarray)
        y.own = np.asarray(x)
        return y
    return type(x)(map(up, x)) if isinstance(x, (list, tuple)) else x


def down(x):
    """Arguments, as NumPy's arrays; none may be one already."""
    if isinstance(x, np.ndarray):
        raise TypeError(f"an array of the host, {x.dtype} {x.shape}, met one of the device")
    if isinstance(x, (list, tuple)):
        return type(x)(map(down, x))
    return x.own if isinstance(x, ndarray) else x


def as_device(x, dtype=None):
    same = isinstance(x, ndarray) and dtype in (None, x.dtype)
    return x if same else ndarray(x, dtype)


def index(at):
    """An index as NumPy takes it, and whether it picks: then CuPy copies, and brings lists."""
    parts = [part.own if isinstance(part, ndarray) else part for part in listed(at)]
    arrays = [np.asarray(p) for p in parts if isinstance(p, (list, np.ndarray))]
    total["uploads"] += sum(isinstance(part, (list, np.ndarray)) for part in listed(at))
    total["waits"] += sum(x.dtype == bool for x in arrays)  # how many are true?
    return tuple(parts), bool(arrays)


def listed(at):
    return at if isinstance(at, tuple) else (at,)


def unique(places):
    return len(np.unique(places)) == places.size


backend.DEVICES["fake"] = lambda: ndarray
