"""The forward pass alone: all logits of a batch."""

from itertools import product

from .. import start
from ..cases import exists
from ..measure import Job, few, measure
from ..numbers import table

METHODS = "lora", "prompt", "prefix"
JOBS = {
    "minipeft": Job("ours", "forward"),
    "stock": Job("torch_side", "forward", {"attention": "sdpa"}),
    "tuned": Job("torch_side", "forward", {"attention": "sdpa", "tuned": True}),
}


def cells(options, workers):
    """Yield a result for each size and method."""
    for size, method in product(options.sizes, METHODS):
        if method in options.methods and exists(size, method):
            start.adaptation(workers.folder, size, method)
            case = {"size": size, "method": method}
            yield {"case": case} | measure(workers, JOBS, few(options, size), **case)


def targets(results):
    """Return no targets."""
    return ()


def section(results) -> str:
    """Return the table of forward passes."""
    names = {name: name for name in JOBS}
    quotients = {f"{name} ÷ minipeft": (name,) for name in ("stock", "tuned")}
    note = "All logits of the batch of a training step, without gradients; PyTorch with SDPA.\n"
    return "\n".join(["## Forward passes\n", note, table(results["forward"], names, quotients), ""])
