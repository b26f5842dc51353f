"""The targets and the tables of training steps."""

from statistics import median

from minipeft.tasks.report import markdown_table

from ..cases import SIZES
from ..numbers import mebibytes, ratio, ratios, with_quartiles
from ..targets import Target

NAMES = {"llama": "tiny, Llama", "small": "GPT-2 small"}  # others are called as in SIZES
BOUNDS = {  # {size: least ratios to stock and to tuned, of lightweight methods and of full}
    "nano": ((3.5, None), (3.5, None)),
    "tt": ((1.7, 1.4), (1.7, 1.4)),
    "tiny": ((1.5, 1.3), (1.4, 1.2)),
    "llama": ((1.5, 1.3), (1.4, 1.2)),
    "small": ((1.3, 1.1), (1.2, 1.0)),
}
TIMES = "minipeft", "stock", "tuned", "compile", "jax"
RATIOS = "stock", "tuned", "products"
TITLES = [
    "method",
    *(f"{name} ms" for name in TIMES),
    *(f"{name} ÷ minipeft" for name in RATIOS),
    "peak MiB, minipeft",
    "peak MiB, stock",
    "ratio of peaks",
]
NOTES = """\
A step is forward, backward, clipping and AdamW. *Answer*: only the last quarter of each text has
labels. *Peak* is the largest memory of a new process in training, with labels everywhere, above
what its imports take. Pages of mapped files are not counted, since the system may drop them: both
libraries map the weights of a frozen base.
"""


def targets(results):
    """Yield the targets of training steps."""
    cells = [cell | {"seconds": times(cell)} for cell in results["training"]]
    for size, (light, full) in BOUNDS.items():
        name = NAMES.get(size, size)
        of_size = select(cells, size=size)
        of_full = select(of_size, method="full")
        others = [cell for cell in of_size if cell not in of_full]
        yield from against(f"{name}, lightweight methods", others, light)
        yield from against(f"{name}, full fine-tuning", of_full, full)
    answers = [
        c for c in select(cells, size="small", labels="answer") if c["case"]["method"] != "full"
    ]
    yield from against("GPT-2 small, labels on the answer only", answers, (1.7, None))
    lora = select(cells, size="small", method="lora", labels="everywhere")
    yield Target("GPT-2 small, LoRA: products ÷ minipeft", ratios(lora, "products"), 0.92)
    for name in "compile", "jax":
        yield Target(f"all sizes: {name} ÷ minipeft", ratios(cells, name), 1.0)


def select(cells, **case) -> list:
    """Return the cells of this case."""
    return [cell for cell in cells if case.items() <= cell["case"].items()]


def against(text, cells, bounds):
    """Yield the targets of these cells against stock and against tuned PyTorch."""
    for name, bound in zip(("stock", "tuned"), bounds):
        if bound:
            yield Target(f"{text}: {name} ÷ minipeft", ratios(cells, name), bound)


def times(cell) -> dict:
    """Return {name: seconds}, with the faster of both ways to compute the products."""
    seconds = cell["seconds"]
    ways = [s for name, s in seconds.items() if name.startswith("products")]
    return seconds | {"products": min(ways, key=median)} if ways else seconds


def section(results) -> str:
    """Return a table for each size."""
    peaks = {tuple(cell["case"].values()): cell["peak"] for cell in results.get("memory", [])}
    parts = ["## Training steps\n", NOTES]
    for size, s in SIZES.items():
        if cells := select(results["training"], size=size):
            parts += [
                f"### {NAMES.get(size, size)}\n",
                f"{s.layers} layers, width {s.width}, {s.heads} heads, vocabulary "
                f"{s.vocabulary:,}; a batch of {s.batch} × {s.tokens} tokens.\n",
                markdown_table([TITLES, *(row(cell, peaks) for cell in cells)]),
                "",
            ]
    return "\n".join(parts)


def row(cell, peaks) -> list[str]:
    """Return the cells of a table with TITLES."""
    case, seconds = cell["case"], times(cell)
    missing = {name: "n/a" for name in cell["failed"]}
    ratios = [ratio(seconds, name) for name in RATIOS]
    everywhere = case["labels"] == "everywhere"
    return [
        case["method"] if everywhere else f"{case['method']}, answer",
        *(with_quartiles(seconds[n]) if n in seconds else missing.get(n, "") for n in TIMES),
        *(f"{value:.2f}" if value else "" for value in ratios),
        *peak_cells(peaks.get((case["size"], case["method"])) if everywhere else None),
    ]


def peak_cells(peak) -> list[str]:
    """Return the peaks of both libraries, and their ratio; nothing if they were not measured."""
    if peak is None:
        return [""] * 3
    ours, theirs = peak["minipeft"], peak["stock"]
    return [mebibytes(ours), mebibytes(theirs), f"{ours / theirs:.2f}"]
