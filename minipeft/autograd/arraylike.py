"""What tensors share with arrays: conversion of numbers, operators, functions of NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

OPERATIONS: dict[Callable, Callable] = {}  # {function of NumPy: operation}, filled in ops.py
COMPARISONS = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}


class ArrayLike(NDArrayOperatorsMixin):
    """Base class of Tensor: what Python and NumPy call on an array.

    The mixin turns each operator into a call of `__array_ufunc__`.  data: the array.
    """

    __slots__ = ()
    __hash__ = object.__hash__  # the mixin defines ==
    data: Any
    sum: Callable[..., Any]  # set in ops.py, as are the next four
    mean: Callable[..., Any]
    reshape: Callable[..., Any]
    T: Any
    __getitem__: Callable[..., Any]

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)

    def item(self) -> float:
        """Return the number of a tensor that has only one."""
        return self.data.item()

    def __float__(self):
        return float(self.item())

    def __bool__(self):
        return bool(self.data)

    def __len__(self):
        return len(self.data)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __format__(self, spec):
        return format(self.item(), spec) if spec else repr(self)

    def __array_ufunc__(self, ufunc, method, *xs, **options):
        """Return ufunc(*xs), for an operator or a call such as np.exp(t).

        t += x makes a new tensor.  A comparison returns an array of booleans.
        """
        out = options.pop("out", (xs[0],))[0]
        if method != "__call__" or options or out is not xs[0]:
            raise TypeError(unknown(f"np.{ufunc.__name__} with these options"))
        if ufunc in COMPARISONS:
            return ufunc(*map(array_of, xs))
        return self.__array_function__(ufunc, (), [operand(x, self) for x in xs], {})

    def __array_function__(self, f, types, xs, options):
        """Return f(*xs, **options) for a function f of NumPy, such as np.sum."""
        if f not in OPERATIONS:
            raise TypeError(unknown(f"np.{f.__name__}"))
        return OPERATIONS[f](*xs, **options)

    def __array__(self, *_, **__):
        raise TypeError(
            "a Tensor is not made an array, which would have no gradient: use its array, .data, "
            "or for a list of tensors minipeft.autograd.ops.stack"
        )

    def __getattr__(self, name):
        raise AttributeError(unknown(name))


def unknown(name):
    """Return the message for a function or an attribute that tensors do not have."""
    return (
        f"a Tensor has no {name}: its array, without a gradient, is .data; operations with a "
        "gradient are in minipeft.autograd.ops and minipeft.autograd.functional"
    )


def array_of(x):
    """Return the array of a tensor, and anything else as it is."""
    return x.data if isinstance(x, ArrayLike) else x


def as_floats(x):
    """Return x as an array: arrays of floats as they are, all other numbers as float32.

    Raises TypeError for what is not numbers, ValueError for rows of different lengths.
    """
    if type(x) is np.ndarray and x.dtype.kind == "f":
        return x  # as most operations return
    is_array = hasattr(x, "__array_function__") and not isinstance(x, ArrayLike)
    try:
        array = x if is_array else np.asarray(x)
    except ValueError:
        raise ValueError(f"the rows of a Tensor must have one length; got {x!r:.60}") from None
    if array.dtype.kind not in "biufc":
        raise TypeError(f"a Tensor is made of numbers, not of {x!r:.60}, {array.dtype}")
    keep = array.dtype.kind == "c" or array.dtype.kind == "f" and hasattr(x, "dtype")
    return array if keep else array.astype(np.float32)


def operand(x, tensor):
    """Return an operand beside `tensor`: a tensor, an array of floats, or a number of Python.

    A number and all that is not floats take the dtype of the tensor, so float32 stays float32.
    """
    if isinstance(x, (np.ndarray, np.generic)) and not x.ndim:
        x = x.item()
    if isinstance(x, (ArrayLike, int, float, complex)):
        return x
    array = as_floats(x)
    return array if array is x else np.asarray(array, tensor.dtype, like=tensor.data)
