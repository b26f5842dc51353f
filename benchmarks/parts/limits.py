"""What a step would take if only its array functions took time, or only its matrix products."""

from itertools import product

from .. import start
from ..cases import exists
from ..measure import Job, few, measure
from ..numbers import table
from .training import torch

METHODS = "lora", "full"
JOBS = {
    "minipeft": Job("ours", "train"),
    "functions": Job("replay", "train"),
    "products": Job("products", "train", {"split": True}),
    "stock": torch("sdpa"),
    "tuned": torch("sdpa", tuned=True),
}
TITLES = {
    "minipeft": "step",
    "functions": "its functions",
    "products": "its products",
    "stock": "stock",
    "tuned": "tuned",
}
RATIOS = {
    "functions ÷ step": ("functions",),
    "stock ÷ functions": ("stock", "functions"),
    "tuned ÷ functions": ("tuned", "functions"),
}
NOTE = """\
The *functions* are those of all operations and their derivatives, on the arrays of a recorded step
and in as many threads, without graph, checks, sums of gradients, and AdamW. The last two columns
are therefore the ratios of an engine that takes no time; more needs other functions than NumPy's.
"""


def cells(options, workers):
    """Yield a result for each size and method."""
    for size, method in product(options.sizes, METHODS):
        if method in options.methods and exists(size, method):
            start.adaptation(workers.folder, size, method)
            case = {"size": size, "method": method, "labels": "everywhere"}
            yield {"case": case} | measure(workers, JOBS, few(options, size), **case)


def targets(results):
    """Return no targets."""
    return ()


def section(results) -> str:
    """Return the table."""
    return "\n".join(["## Limits\n", NOTE, table(results["limits"], TITLES, RATIOS), ""])
