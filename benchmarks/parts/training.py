"""Training steps: forward, backward, clipping and AdamW, in all libraries."""

from itertools import product
from statistics import median

from minipeft.tasks.report import markdown_table

from .. import start
from ..cases import LABELS, SIZES, exists
from ..measure import Job, few, measure
from ..numbers import mebibytes, ratio, ratios, with_quartiles
from ..targets import Target

SLOW_TO_COMPILE = "full", "lora"  # methods with torch.compile and JAX
NAMES = {"llama": "tiny, Llama", "small": "GPT-2 small"}
TARGETS = {  # {size: least ratios to stock and to tuned, of lightweight methods and of full}
    "nano": ((3.5, None), (3.5, None)),
    "tt": ((1.7, 1.4), (1.7, 1.4)),
    "tiny": ((1.5, 1.3), (1.4, 1.2)),
    "llama": ((1.5, 1.3), (1.4, 1.2)),
    "small": ((1.3, 1.1), (1.2, 1.0)),
}


def cells(options, workers):
    """Yield a result for each size, method and choice of labels."""
    for size, method, labels in product(options.sizes, options.methods, LABELS):
        answers_of_few = size == "small" and labels == "answer" and method not in SLOW_TO_COMPILE
        if exists(size, method, labels) and not answers_of_few:
            start.adaptation(workers.folder, size, method)
            case = {"size": size, "method": method, "labels": labels}
            yield {"case": case} | training(options, workers, **case)


def training(options, workers, size, method, labels):
    """Return the result of one case.

    First the losses and gradients are compared.  Then the faster attention of PyTorch is chosen,
    in a comparison of its own, for all that follows.
    """
    case = {"size": size, "method": method, "labels": labels}
    rounds = few(options, size)
    checker = workers.of("check", "same")
    loss = checker.start("check", **case)
    checker.stop()
    torch = lambda **settings: Job("torch_side", "train", settings)
    attentions = {name: torch(attention=name) for name in ("sdpa", "eager")}
    pilot = measure(workers, attentions, -(-rounds // 2), loss, **case)["seconds"]
    best = min(pilot, key=lambda name: median(pilot[name]))
    compiled = method in SLOW_TO_COMPILE and labels == "everywhere"
    jobs = {
        "minipeft": Job("ours", "train"),
        "stock": torch(attention=best),
        "tuned": torch(attention=best, tuned=True),
        "compile": torch(attention=best, compiled=True),
        "jax": Job("jax_side", "train"),
        "products, split": Job("products", "train", {"split": True}),
        "products, whole": Job("products", "train", {"split": False}),
    }
    left_out = () if compiled else ("compile", "jax")
    jobs = {
        name: job
        for name, job in jobs.items()
        if name not in left_out and name.partition(",")[0] in options.libraries
    }
    result = measure(workers, jobs, rounds, loss, **case)
    return {"attention": best, "loss": loss} | result


# -- the page


def targets(results):
    """Yield the targets of training steps."""
    cells = [cell | {"seconds": times(cell)} for cell in results["training"]]
    for size, of_methods in TARGETS.items():
        for full, bounds in enumerate(of_methods):
            for name, bound in zip(("stock", "tuned"), bounds):
                chosen = [
                    cell
                    for cell in cells
                    if cell["case"]["size"] == size and (cell["case"]["method"] == "full") == full
                ]
                what = "full fine-tuning" if full else "lightweight methods"
                if bound:
                    text = f"{NAMES.get(size, size)}, {what}: {name} ÷ minipeft"
                    yield Target(text, ratios(chosen, name), bound)
    answers = [c for c in cells if c["case"]["size"] == "small" and c["case"]["labels"] == "answer"]
    text = "GPT-2 small, labels on the answer only: stock ÷ minipeft"
    yield Target(text, ratios(answers, "stock"), 1.7)
    lora = [
        c for c in cells if c["case"] == {"size": "small", "method": "lora", "labels": "everywhere"}
    ]
    yield Target("GPT-2 small, LoRA: products ÷ minipeft", ratios(lora, "products"), 0.92)
    for name in "compile", "jax":
        yield Target(f"all sizes: {name} ÷ minipeft", ratios(cells, name), 1.0)


def times(cell) -> dict:
    """Return {name: seconds}, with the faster of both ways to compute the products."""
    seconds = cell["seconds"]
    ways = [s for name, s in seconds.items() if name.startswith("products")]
    return seconds | {"products": min(ways, key=median)} if ways else seconds


def section(results) -> str:
    """Return a table for each size."""
    peaks = {tuple(c["case"].values()): c["peak"] for c in results.get("memory", [])}
    parts = ["## Training steps\n", NOTES]
    for size in dict.fromkeys(cell["case"]["size"] for cell in results["training"]):
        s = SIZES[size]
        parts += [
            f"### {NAMES.get(size, size)}\n",
            f"{s.layers} layers, width {s.width}, {s.heads} heads, vocabulary {s.vocabulary:,}; a "
            f"batch of {s.batch} × {s.tokens} tokens.\n",
            markdown_table(rows(results["training"], peaks, size)),
            "",
        ]
    return "\n".join(parts)


NOTES = """\
A step is forward, backward, clipping and AdamW. *Answer*: only the last quarter of each text has
labels. *Peak* is the largest memory of a new process in training, above what its imports take, with
labels everywhere.
"""
TITLES = [
    "method",
    "minipeft ms",
    "stock ms",
    "tuned ms",
    "compile ms",
    "jax ms",
    "stock ÷ minipeft",
    "tuned ÷ minipeft",
    "products ÷ minipeft",
    "peak MiB, minipeft",
    "peak MiB, stock",
    "ratio of peaks",
]


def rows(cells, peaks, size):
    """Yield the titles, and a row for each case of a size."""
    yield TITLES
    for cell in cells:
        case, seconds = cell["case"], times(cell)
        if case["size"] != size:
            continue
        answer = case["labels"] == "answer"
        yield [
            case["method"] + ", answer" * answer,
            *(
                with_quartiles(seconds[name])
                if name in seconds
                else "n/a" * (name in cell["failed"])
                for name in ("minipeft", "stock", "tuned", "compile", "jax")
            ),
            *(
                f"{value:.2f}" if (value := ratio(seconds, name)) else ""
                for name in ("stock", "tuned", "products")
            ),
            *(
                peak_cells(peaks[size, case["method"]])
                if (size, case["method"]) in peaks and not answer
                else [""] * 3
            ),
        ]


def peak_cells(peak) -> list[str]:
    """Return the peaks of both libraries, and their ratio."""
    ours, theirs = peak["minipeft"], peak["stock"]
    return [mebibytes(ours), mebibytes(theirs), f"{ours / theirs:.2f}"]
