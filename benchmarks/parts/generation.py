"""Generation: greedy, with a KV cache, against `generate` of transformers."""

from itertools import product
from statistics import median

from minipeft.tasks.report import markdown_table

from .. import start
from ..cases import GENERATED
from ..measure import Job, few, measure
from ..numbers import ratio, ratios, short
from ..targets import Target

NEW = 32  # tokens
ROWS = 1, 8  # sizes of a batch
JOBS = {
    "minipeft": Job("ours", "generate"),
    "stock": Job("torch_side", "generate", {"attention": "sdpa"}),
    "tuned": Job("torch_side", "generate", {"attention": "sdpa", "tuned": True}),
}


def cells(options, workers):
    """Yield a result for each size of a model and of a batch."""
    for size, rows in product(GENERATED, ROWS):
        if size in options.sizes:
            start.base(workers.folder, size)
            found = measure(workers, JOBS, few(options, size), size=size, rows=rows, new=NEW)
            yield {"case": {"size": size, "texts": rows}} | found


def targets(results):
    """Yield the target of generation."""
    figures = ratios(results["generation"], "stock")
    yield Target("generation: transformers' time ÷ minipeft's", figures, least=1.5)


def section(results) -> str:
    """Return the table of generation, in tokens per second."""
    rows = [["size", "texts", *(f"{n} tokens/s" for n in JOBS), "÷ stock", "÷ tuned"]]
    for cell in results["generation"]:
        case, seconds = cell["case"], cell["seconds"]
        speeds = [short(case["texts"] * NEW / median(seconds[n])) for n in JOBS if n in seconds]
        parts = [f"{ratio(seconds, name):.2f}" for name in ("stock", "tuned")]
        rows.append([case["size"], str(case["texts"]), *speeds, *parts])
    note = (
        f"{NEW} tokens after texts of 16 tokens, greedy, with a KV cache, against `generate` of "
        "transformers with\nSDPA. The tokens are the same. llama-135m has 30 layers of width 576, "
        "9 heads and 3 key heads, and a\nvocabulary of 49,152.\n"
    )
    return "\n".join(["## Generation\n", note, markdown_table(rows), ""])
