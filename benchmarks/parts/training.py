"""Training steps: forward, backward, clipping and AdamW, in all libraries."""

from itertools import product
from statistics import median

from .. import start
from ..cases import LABELS, exists
from ..measure import Job, few, measure
from .training_page import section, targets  # noqa: F401

COMPILED = "full", "lora"  # methods with torch.compile and JAX, which take long to compile
ATTENTIONS = "sdpa", "eager"  # of PyTorch


def cells(options, workers):
    """Yield a result for each size, method and choice of labels."""
    for size, method, labels in product(options.sizes, options.methods, LABELS):
        slow = size == "small" and labels == "answer" and method not in COMPILED
        if exists(size, method, labels) and not slow:
            start.adaptation(workers.folder, size, method)
            case = {"size": size, "method": method, "labels": labels}
            yield {"case": case} | training(options, workers, case)


def training(options, workers, case) -> dict:
    """Return the result of one case.

    First the losses and gradients are compared.  Then both attentions of PyTorch take turns, and
    the faster one is used in all that follows.
    """
    checker = workers.of("check", "same")
    loss = checker.start("check", **case)
    checker.stop()
    rounds = few(options, case["size"])
    both = {name: torch(name) for name in ATTENTIONS}
    attentions = measure(workers, both, -(-rounds // 2), loss, **case)["seconds"]
    best = min(attentions, key=lambda name: median(attentions[name]))
    compiled = case["method"] in COMPILED and case["labels"] == "everywhere"
    chosen = {
        name: job
        for name, job in jobs(best, compiled).items()
        if name.partition(",")[0] in options.libraries
    }
    return {"attentions": attentions} | measure(workers, chosen, rounds, loss, **case)


def jobs(attention: str, compiled: bool) -> dict[str, Job]:
    """Return {name: job} of all libraries."""
    slow = {"compile": torch(attention, compiled=True), "jax": Job("jax_side", "train")}
    return {
        "minipeft": Job("ours", "train"),
        "stock": torch(attention),
        "tuned": torch(attention, tuned=True),
        **(slow if compiled else {}),
        "products, split": Job("products", "train", {"split": True}),
        "products, whole": Job("products", "train", {"split": False}),
    }


def torch(attention: str, **settings) -> Job:
    """Return the job of PyTorch."""
    return Job("torch_side", "train", {"attention": attention} | settings)
