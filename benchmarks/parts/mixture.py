"""A mixture of kinds: LoRA, prefix, prompt and adapter in one batch, against a batch for each."""

from .. import start
from ..measure import Job, measure
from ..numbers import ratios, table
from ..targets import Target

NEW = 16  # tokens
SIZES = "tt", "tiny"
JOBS = {"training": Job("rows", "train_kinds"), "generation": Job("rows", "generate_kinds")}
WAYS = {"mixed": True, "apart": False}


def cells(options, workers):
    """Yield a result for training and for generation with each size."""
    for size in SIZES:
        for what, job in JOBS.items() if size in options.sizes else ():
            start.base(workers.folder, size)
            more = {"new": NEW} if what == "generation" else {}
            jobs = {way: job._replace(settings={"mixed": v} | more) for way, v in WAYS.items()}
            found = measure(workers, jobs, options.rounds, size=size)
            yield {"case": {"size": size, "of": what}} | found


def targets(results):
    """Yield the targets of a mixture."""
    for what, most in (("training", 1.2), ("generation", 1.0)):
        chosen = [cell for cell in results["mixture"] if cell["case"]["of"] == what]
        figures = ratios(chosen, "mixed", "apart")
        yield Target(f"{what}, a mixed batch ÷ one batch a kind", figures, most=most)


def section(results) -> str:
    """Return the table of mixtures."""
    names = {"mixed": "one batch", "apart": "a batch for each kind"}
    note = (
        "A quarter of the rows each has LoRA, a prefix, a prompt and an adapter: in one batch with "
        "`Each`, or in four\nbatches, one after the other.\n"
    )
    quotients = {"one batch ÷ four": ("mixed", "apart")}
    return "\n".join(
        ["## A mixture of kinds\n", note, table(results["mixture"], names, quotients), ""]
    )
