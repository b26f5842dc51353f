"""Reverse-mode automatic differentiation over arrays."""

import heapq
import itertools
import weakref
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps

import numpy as np


class Tensor:
    """An array and, if a gradient is wanted for it, its node in the graph."""

    __slots__ = ("data", "node", "grad", "__weakref__")
    __array_ufunc__ = None  # array * tensor is the tensor's to answer

    def __init__(self, data, requires_grad=False, edges=()):
        self.data, self.grad = data, None
        leaf = weakref.ref(self) if requires_grad else None
        self.node = Node(data.shape, edges, leaf) if leaf or edges else None

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    dtype = property(lambda self: self.data.dtype)
    requires_grad = property(lambda self: self.node is not None)

    def backward(self):
        """Add d self/d t to t.grad for every leaf t behind this; threads use `grad`."""
        for node, g in flow([self], [np.ones_like(self.data)]):
            if node.leaf and (t := node.leaf()) is not None:
                t.grad = g if t.grad is None else t.grad + g

    def __float__(self):
        return float(self.data.item())

    def __repr__(self):
        return f"Tensor({self.data!r}{', requires_grad=True' if self.requires_grad else ''})"


class Node:
    """A place in the graph: a (parent, vjp) for each input that wants a gradient; a leaf has none.

    Nodes hold no arrays: an activation lives on only if some vjp captured it.
    """

    __slots__ = ("shape", "edges", "leaf", "age")
    ages = itertools.count()

    def __init__(self, shape, edges, leaf):
        self.shape, self.edges, self.leaf, self.age = shape, edges, leaf, next(Node.ages)


def grad(ys, wrt, gs=None):
    """[Σ g · dy/dt for t in wrt]: arrays, written nowhere, so threads may share every leaf.

    A t on which no y depends gets zeros.  The graph is freed on the way.  The arrays are to be
    read: two of them may be one.
    """
    ys = [ys] if isinstance(ys, Tensor) else ys
    if not all(t.requires_grad for t in wrt):
        raise ValueError("a gradient was asked for a tensor without requires_grad=True")
    wanted = {t.node for t in wrt}
    found = {
        node: g for node, g in flow(ys, gs or [np.ones_like(y.data) for y in ys]) if node in wanted
    }
    return [found[t.node] if t.node in found else np.zeros_like(t.data) for t in wrt]


def flow(ys, gs):
    """Yield every node behind ys with its whole gradient, newest first.

    Whatever uses a tensor is younger than it, so when a node's turn comes, all of its
    gradient has arrived: no recursion, and every edge is walked once.
    """
    grads, queue = {}, []

    def arrive(node, g):
        if node in grads:
            grads[node] = grads[node] + g
        else:
            grads[node] = g
            heapq.heappush(queue, (-node.age, node))

    for y, g in zip(ys, gs, strict=True):
        if y.node is not None:
            arrive(y.node, g)
    if not queue:
        raise RuntimeError(
            "nothing that this was computed from is trained, so there is no gradient"
        )
    while queue:
        _, node = heapq.heappop(queue)
        g, edges = grads.pop(node), node.edges
        if edges is None:
            raise RuntimeError(
                "a gradient already went through here and freed it; run forward again"
            )
        if edges:
            node.edges = None
        yield node, g
        for parent, vjp in edges:
            arrive(parent, unbroadcast(vjp(g), parent.shape))


def unbroadcast(g, shape):
    """Sum g over the axes along which `shape` had been stretched."""
    if g.shape == shape:
        return g
    new = g.ndim - len(shape)
    ones = [new + i for i, n in enumerate(shape) if n == 1]
    return g.sum((*range(new), *ones), keepdims=True).reshape(shape)


recording = ContextVar("recording", default=True)  # each thread has its own


@contextmanager
def no_grad():
    """Compute without remembering how."""
    token = recording.set(False)
    try:
        yield
    finally:
        recording.reset(token)


def op(forward):
    """Make a differentiable operation of `forward(*arrays) -> (y, vjp, vjp, ...)`.

    One vjp for each array argument, in order, un-summed where the argument was broadcast.
    Those of frozen arguments are dropped at once, and with them whatever only they had
    captured: a frozen weight keeps no activation alive.
    """

    @wraps(forward)
    def apply(*args, **options):
        y, *vjps = forward(*[a.data if isinstance(a, Tensor) else a for a in args], **options)
        inputs = zip(args, vjps) if recording.get() else ()
        return Tensor(y, edges=[(a.node, f) for a, f in inputs if isinstance(a, Tensor) and a.node])

    return apply


def once(f):
    """f, computed at its first call only: vjps of one op may share a factor."""
    kept = []

    def g(*x):
        if not kept:
            kept.append(f(*x))
        return kept[0]

    return g
