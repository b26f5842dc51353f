"""Peak memory of a training step, of a new process, without mapped files and the imports."""

from itertools import product

from .. import start
from ..cases import exists
from ..targets import Target
from ..turns import Worker

RUNS = 3


def cells(options, workers):
    """Yield a result for each size and method."""
    for size, method in product(options.sizes, options.methods):
        if exists(size, method):
            start.adaptation(workers.folder, size, method)
            case = {"size": size, "method": method}
            yield {"case": case, "peak": peaks(workers.folder, **case)}


def peaks(folder, **case) -> dict[str, int]:
    """Return the peak of minipeft and of stock PyTorch, in bytes."""
    return {
        "minipeft": peak(folder, "ours", **case),
        "stock": peak(folder, "torch_side", attention="sdpa", **case),
    }


def peak(folder, library, **arguments) -> int:
    """Return the peak of a new process with this library."""
    worker = Worker(library, folder, alone=True)
    worker.start("train", labels="everywhere", **arguments)
    for _ in range(RUNS):
        worker.seconds()
    bytes = worker.stop()
    worker.close()
    return bytes


# -- the page: the peaks are in the tables of training steps


def targets(results):
    """Yield the targets of peak memory, minipeft ÷ PyTorch."""
    found = {c["case"]["size"] + " " + c["case"]["method"]: c for c in results["memory"]}
    ratios = {name: c["peak"]["minipeft"] / c["peak"]["stock"] for name, c in found.items()}
    full = {name: value for name, value in ratios.items() if name.endswith("full")}
    light = {name: value for name, value in ratios.items() if name not in full}
    small = {name: value for name, value in light.items() if name.startswith("small")}
    others = {name: value for name, value in light.items() if name not in small}
    text = "peak memory, minipeft ÷ stock: "
    yield Target(f"{text}lightweight methods, up to tiny", others, most=0.35)
    yield Target(f"{text}lightweight methods, GPT-2 small", small, most=0.6)
    yield Target(f"{text}full fine-tuning", full, most=1.0)


def section(results) -> str:
    """Return nothing."""
    return ""
