"""Loading a model from a folder, against safetensors' own reading and mapping of the file."""

from .. import start
from ..measure import Job, measure
from ..numbers import ratios, table
from ..targets import Target

SIZES = "tiny", "small"
JOBS = {
    "minipeft": Job("ours", "load"),
    "load_file": Job("files", "load"),
    "mapped": Job("files", "map_file"),
}


def cells(options, workers):
    """Yield a result for each size."""
    for size in SIZES:
        if size in options.sizes:
            start.base(workers.folder, size)
            yield {"case": {"size": size}} | measure(workers, JOBS, options.rounds, size=size)


def targets(results):
    """Yield the target of loading."""
    small = [cell for cell in results["loading"] if cell["case"]["size"] == "small"]
    for name in ("load_file", "mapped"):
        yield Target(f"GPT-2 small: {name} ÷ mp.load", ratios(small, name), 1)


def section(results) -> str:
    """Return the table of loading."""
    names = {"minipeft": "mp.load", "load_file": "load_file", "mapped": "safe_open, all tensors"}
    quotients = {f"{name} ÷ mp.load": (name,) for name in ("load_file", "mapped")}
    note = "`mp.load` checks the folder and returns a model; safetensors returns arrays.\n"
    return "\n".join(["## Loading\n", note, table(results["loading"], names, quotients), ""])
