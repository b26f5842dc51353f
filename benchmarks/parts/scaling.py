"""How the time of a training step grows with the length and with the number of texts."""

from statistics import correlation, linear_regression, median

from minipeft.tasks.report import markdown_table

from ..measure import Job, measure
from ..numbers import short
from ..targets import Target

TOKENS = 16, 32, 64, 96, 128  # of 32 texts
ROWS = 8, 16, 32, 48, 64  # of 64 tokens


def cells(options, workers):
    """Yield a result for the length and one for the number of texts."""
    for what, values in (("tokens", TOKENS), ("texts", ROWS)):
        shapes = {n: (32, n) if what == "tokens" else (n, 64) for n in values}
        jobs = {
            str(n): Job("ours", "scale", {"rows": rows, "tokens": tokens})
            for n, (rows, tokens) in shapes.items()
        }
        yield {"case": {"of": what}} | measure(workers, jobs, options.rounds)


def fit(cell) -> tuple[float, float, float]:
    """Return intercept and slope, in milliseconds, and R² of a line through the medians."""
    x = [int(n) for n in cell["seconds"]]
    y = [1e3 * median(s) for s in cell["seconds"].values()]
    slope, intercept = linear_regression(x, y)
    return intercept, slope, correlation(x, y) ** 2


def targets(results):
    """Yield the target of linear growth."""
    figures = {cell["case"]["of"]: fit(cell)[2] for cell in results["scaling"]}
    yield Target("training, time linear in tokens and in texts: R²", figures, least=0.99)


def section(results) -> str:
    """Return a table of the times and the fitted lines."""
    rows = [["in", "ms at", "intercept ms", "slope ms", "R²"]]
    for cell in results["scaling"]:
        times = ", ".join(f"{n}: {short(1e3 * median(s))}" for n, s in cell["seconds"].items())
        intercept, slope, r2 = fit(cell)
        rows.append([cell["case"]["of"], times, short(intercept), f"{slope:.3g}", f"{r2:.4f}"])
    note = "A training step of LoRA at tiny: 32 texts of so many tokens, and so many texts of 64.\n"
    return "\n".join(["## Growth with the batch\n", note, markdown_table(rows), ""])
