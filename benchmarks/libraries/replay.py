"""The array functions of a training step alone: without graph, checks, sums of gradients, AdamW.

A step of minipeft is recorded; then the same functions run on the same arrays, in as many threads.
No engine that calls these functions can be faster.
"""

import inspect
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import get_ident

import numpy as np
from threadpoolctl import threadpool_limits

from minipeft.autograd import functional, ops

from . import ours


class Call:
    """A call of the function of an operation, and the calls of its vjps, [(index, gradient)]."""

    def __init__(self, forward, arrays, options):
        self.forward, self.arrays, self.options = forward, arrays, options
        self.gradients: list[tuple] = []


class Tape:
    """Calls of one thread: forwards, and those of vjps, [(call, position in its gradients)]."""

    def __init__(self):
        self.forwards: list[Call] = []
        self.backwards: list[tuple] = []

    def replay(self):
        """Call everything again, in the order of the step."""
        with np.errstate(over="ignore"):
            vjps = {}
            for call in self.forwards:
                _, *found = call.forward(*call.arrays, **call.options)
                vjps[call] = [found[i] for i, _ in call.gradients]
            for call, at in self.backwards:
                vjps[call][at](call.gradients[at][1])


def operations():
    """Return the cell of each operation that has its function."""
    is_operation = lambda f: hasattr(f, "__wrapped__")
    found = {f for module in (ops, functional) for _, f in inspect.getmembers(module, is_operation)}
    return [f.__closure__[f.__code__.co_freevars.index("forward")] for f in found]


def record(step) -> list[Tape]:
    """Take a training step, and return the tape of each thread."""
    tapes: dict[int, Tape] = defaultdict(Tape)

    def recorded(forward):
        def run(*arrays, **options):
            y, *vjps = forward(*arrays, **options)
            call = Call(forward, arrays, options)
            tapes[get_ident()].forwards.append(call)
            return y, *[partial(differentiated, call, i, vjp) for i, vjp in enumerate(vjps)]

        return run

    def differentiated(call, i, vjp, g):
        tapes[get_ident()].backwards.append((call, len(call.gradients)))
        call.gradients.append((i, g))
        return vjp(g)

    cells = operations()
    functions = [cell.cell_contents for cell in cells]
    for cell, forward in zip(cells, functions):
        cell.cell_contents = recorded(forward)
    try:
        step()
    finally:
        for cell, forward in zip(cells, functions):
            cell.cell_contents = forward
    return [*tapes.values()]


def train(size: str, method: str, labels: str):
    """Return a function that replays a training step."""
    tapes = record(ours.train(size, method, labels))
    threadpool_limits(1, "blas")
    if len(tapes) == 1:
        return tapes[0].replay
    pool = ThreadPoolExecutor(len(tapes))
    return lambda: [*pool.map(Tape.replay, tapes)] and None
