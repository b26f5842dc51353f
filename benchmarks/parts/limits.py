"""What a step would take if only its array functions took time, or only its matrix products."""

from itertools import product

from .. import start
from ..measure import Job, few, measure
from ..numbers import table

METHODS = "lora", "full"
SIZES = "nano", "tt", "tiny", "llama", "small"
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
    for size, method in product(SIZES, METHODS):
        if size in options.sizes and method in options.methods:
            start.adaptation(workers.folder, size, method)
            case = {"size": size, "method": method, "labels": "everywhere"}
            yield {"case": case} | measure(workers, JOBS, few(options, size), **case)


JOBS = {
    "minipeft": Job("ours", "train"),
    "functions": Job("replay", "train"),
    "products": Job("products", "train", {"split": True}),
    "stock": Job("torch_side", "train", {"attention": "sdpa"}),
    "tuned": Job("torch_side", "train", {"attention": "sdpa", "tuned": True}),
}


def targets(results):
    """Return no targets."""
    return ()


def section(results) -> str:
    """Return the table."""
    return "\n".join(["## Limits\n", NOTE, table(results["limits"], TITLES, RATIOS), ""])
