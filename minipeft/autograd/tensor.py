"""Reverse-mode automatic differentiation of arrays: tensors, the graph, operations."""

import heapq
import itertools
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps

import numpy as np

from .arraylike import ArrayLike, array_of, as_floats


class Tensor(ArrayLike):
    """Array of floats and, if it requires a gradient, its node in the graph.

    data: an array, or anything that NumPy makes an array of numbers.  An array of floats is kept as
    it is; integers, lists and Python's numbers become float32.
    """

    __slots__ = ("data", "node", "grad", "__weakref__")

    def __init__(self, data, requires_grad: bool = False, edges=()):
        self.data, self.grad = as_floats(data), None
        leaf = weakref.ref(self) if requires_grad else None
        self.node = Node(self.data.shape, edges, leaf) if leaf or edges else None

    requires_grad = property(lambda self: self.node is not None)

    def backward(self, gradient=None) -> None:
        """Add d self/dt to t.grad for every leaf t of the graph; in threads, use `grad`.

        gradient: an array or a tensor of the shape of this tensor; None: 1, for a scalar.
        Raises RuntimeError if no input requires a gradient or the graph was freed, ValueError for
        a gradient of another shape.
        """
        for node, g in backpropagate([self], None if gradient is None else [gradient]):
            if node.leaf and (t := node.leaf()) is not None:
                t.grad = g if t.grad is None else t.grad + g

    def __reduce__(self):
        return Tensor, (self.data, self.requires_grad)  # a pickle has no graph

    def __repr__(self):
        return f"Tensor({self.data!r}{', requires_grad=True' if self.requires_grad else ''})"


class Node:
    """Node of the graph: one edge (parent, vjp) for each input that requires a gradient.

    A leaf is a tensor with requires_grad=True; it has no edges.  Nodes hold no arrays:
    an activation is kept in memory only if a vjp captured it.
    """

    __slots__ = ("shape", "edges", "leaf", "age")
    ages = itertools.count()

    def __init__(self, shape, edges, leaf):
        self.shape, self.edges, self.leaf, self.age = shape, edges, leaf, next(Node.ages)


def grad(ys, wrt: Tensor | Sequence[Tensor], gs=None) -> list:
    """Return [Σ_y g_y · dy/dt for t in wrt], as arrays.

    No tensor is changed, so threads may share leaves.  A t that no y depends on gets zeros.  The
    graph is freed.  Do not modify the arrays in place: two of them may be the same.

    ys, wrt: a tensor, or a list of tensors.  gs: arrays, their gradients; None: 1, for scalars.
    The errors are those of `Tensor.backward`.
    """
    ys, wrt = ([t] if isinstance(t, Tensor) else t for t in (ys, wrt))
    if not all(t.requires_grad for t in wrt):
        raise ValueError("a tensor in wrt requires no gradient: create it with requires_grad=True")
    wanted = {t.node for t in wrt}
    found = {node: g for node, g in backpropagate(ys, gs) if node in wanted}
    return [found[t.node] if t.node in found else np.zeros_like(t.data) for t in wrt]


def backpropagate(ys: Sequence[Tensor], gs=None) -> Iterator[tuple[Node, np.ndarray]]:
    """Yield every node of the graph of ys with its complete gradient, newest node first.

    A node is newer than its inputs, so all nodes that add to its gradient are visited before it.
    There is no recursion, and every edge is visited once.
    """
    if all(y.node is None for y in ys):
        raise RuntimeError(
            "no input of this graph requires a gradient: give the model an adaptation, as in "
            "model.loss(ids, labels, γ), or create a Tensor with requires_grad=True"
        )
    gs = [seed(y) for y in ys] if gs is None else [as_floats(array_of(g)) for g in gs]
    grads, sums, queue = {}, set(), []  # sums: the nodes whose gradient is an array of its own

    def accumulate(node, g):
        if node in sums:
            grads[node] += g
        elif node in grads:
            grads[node] = grads[node] + g
            sums.add(node)
        else:
            grads[node] = g
            heapq.heappush(queue, (-node.age, node))

    for y, g in zip(ys, gs, strict=True):
        if g.shape != y.shape:
            raise ValueError(
                f"a gradient of shape {g.shape} was given for a tensor of shape {y.shape}: "
                "give one of the same shape"
            )
        if y.node is not None:
            accumulate(y.node, g)
    while queue:
        _, node = heapq.heappop(queue)
        g, edges = grads.pop(node), node.edges
        if edges is None:
            raise RuntimeError(
                "this graph was already differentiated and freed; run the forward pass again"
            )
        if edges:
            node.edges = None
        yield node, g
        for parent, vjp in edges:
            d = vjp(g)
            accumulate(parent, d if d.shape == parent.shape else unbroadcast(d, parent.shape))


def seed(y):
    """Return dy/dy = 1 for a scalar y; raise ValueError for another tensor."""
    if y.data.size != 1:
        raise ValueError(
            f"a tensor of shape {y.shape} is not a scalar: sum it, or give a gradient of that shape"
        )
    return np.ones_like(y.data)


def unbroadcast(g, shape: tuple):
    """Return g summed over the axes along which an array of `shape` was broadcast.

    For the leading axes this is a product, which takes half the time of np.sum.
    """
    new = g.ndim - len(shape)
    lead = new + next((i for i, n in enumerate(shape) if n != 1), len(shape))
    if ones := [i for i in range(lead, g.ndim) if shape[i - new] != g.shape[i]]:
        g = g.sum((*ones,), keepdims=True)
    if not lead:
        return g
    rows = g.reshape(math.prod(g.shape[:lead]), math.prod(shape))
    return (np.ones(len(rows), g.dtype, like=g) @ rows).reshape(shape)


recording = ContextVar("recording", default=True)  # each thread has its own


@contextmanager
def no_grad():
    """Return a context manager in which operations record no graph."""
    token = recording.set(False)
    try:
        yield
    finally:
        recording.reset(token)


def op(forward: Callable) -> Callable[..., Tensor]:
    """Return a differentiable operation on tensors, from `forward(*arrays) -> (y, vjp, vjp, ...)`.

    `forward` returns one vjp for each array argument, in order: vjp(g) returns gᵀ ∂y/∂argument.
    If the argument was broadcast, its vjp need not sum: `unbroadcast` does.  The vjps of arguments
    that require no gradient are dropped at once, together with the arrays that only they captured,
    so a frozen weight keeps no activation in memory.
    """

    @wraps(forward)
    def apply(*args, **options):
        y, *vjps = forward(*[array_of(a) for a in args], **options)
        if not recording.get():
            return Tensor(y)
        nodes = [a.node if isinstance(a, Tensor) else None for a in args]
        if len(nodes) > len(vjps) and any(nodes[len(vjps) :]):
            raise TypeError(
                f"{forward.__name__} returned {len(vjps)} vjps for {len(args)} arguments: "
                "return one for each argument that may require a gradient"
            )
        return Tensor(y, edges=[(node, vjp) for node, vjp in zip(nodes, vjps) if node])

    return apply


def once(f: Callable) -> Callable:
    """Return a function that calls f once and then returns the same result for any arguments.

    The vjps of one operation, which all get the same g, use it to share a factor.
    """
    kept = []

    def g(*x):
        if not kept:
            kept.append(f(*x))
        return kept[0]

    return g
