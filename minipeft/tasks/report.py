"""Reports of a comparison: a table, its legend, a page."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from ..data.words import count

BASELINES = {
    "majority class": "always predict what is most frequent in training",
    "untrained base": "a probe of the same network with random weights: what its architecture can "
    "do without pretraining; chance is the majority class",
    "base": "the base without adaptation",
}


def split_name(test: str) -> str:
    """Return the name of a test split for readers."""
    return "OOD" if test == "ood" else test


def title(test: str) -> str:
    """Return the column title of a test split."""
    return f"{split_name(test)} %"


def percent(share: float) -> str:
    """Return a share as text, in percent."""
    return f"{100 * share:.1f}"


def spread(result: dict, test: str, metric: str) -> str:
    """Return the mean and, of several runs, the standard deviation on a test split, in percent."""
    score = result[test][metric]
    mean, std = percent(score["mean"]), percent(score["std"])
    return f"{mean} ± {std}" if len(score["runs"]) > 1 else mean


def rows(report: dict) -> Iterator[list[str]]:
    """Yield the column titles of the table, then its rows; what is missed least is at the right."""
    tests, metric = report["tests"], report["metric"]
    columns: dict[str, Callable] = {
        "trained params": lambda result: f"{result['trained_params']:,}"
    }
    for test in tests:
        columns[title(test)] = partial(spread, test=test, metric=metric)
    columns["dev half → end"] = progress
    if any(result["forgets"] for result in report["results"]):
        columns["forgets"] = forgets
    columns["lr"] = lambda result: "" if result["lr"] is None else f"{result['lr']:.2g}"
    columns["s/run"] = lambda result: f"{result['seconds_per_run']:.1f}"
    columns["peak MiB"] = peak

    fill = lambda *cells: [*cells, *[""] * (1 + len(columns) - len(cells))]
    yield ["method", *columns]
    for name, scores in report["baselines"].items():
        yield fill(name, "0", *[percent(scores[test][metric]) for test in tests])
    for result in report["results"]:
        name = result["method"] + "*" * (not result["converged"])
        yield [name, *[cell(result) for cell in columns.values()]]
    if report["ceiling"]:
        yield fill("ceiling", "", *[percent(report["ceiling"][test]) for test in tests])


def progress(result: dict) -> str:
    """Return the dev scores at half and at all of the steps; only one of a probe, in percent."""
    half, end = (percent(result["dev"][part]["mean"]) for part in ("half", "end"))
    return end if solved(result) else f"{half} → {end}"


def forgets(result: dict) -> str:
    """Return by how many nats per token the loss on general text rises, where it is known."""
    return f"{result['forgets']['mean']:z.2f}" if result["forgets"] else ""


def peak(result: dict) -> str:
    """Return the most memory that a training step takes, in MiB, where there are steps."""
    return "" if result["peak_bytes"] is None else f"{result['peak_bytes'] / 2**20:.0f}"


def solved(result: dict) -> bool:
    """Return whether a method was solved exactly, as a probe is, and not trained in steps."""
    return result["lr"] is None


def legend(report: dict) -> str:
    """Return what the rows and columns of the table are."""
    return "\n".join([*legend_of_runs(report), *legend_of_columns(report), *legend_of_rows(report)])


def legend_of_runs(report: dict) -> Iterator[str]:
    """Yield what was trained, and how."""
    plan, examples = report["plan"], report["examples"]["train"]
    yield (
        f"Each method adapts a frozen base of {report['base_params']:,} parameters with "
        f"{count(examples, 'example')}: {count(plan['steps'], 'step')}, batches of "
        f"{plan['batch_size']}, {count(plan['seeds'], 'seed')}."
    )
    for result in filter(solved, report["results"]):
        yield f"{result['method']}: solved exactly, with an L2 penalty of {result['l2']:.2g}."
    if width := plan.get("hidden"):
        yield f"probe: with a hidden layer of {width}, trained in steps."
    if report["pool"]:
        scores = ", ".join(
            f"{pool} {percent(dev)}" for pool, dev in (report["pools"] or {}).items()
        )
        yield f"pool: {report['pool']}{f', preferred by dev ({scores})' if scores else ''}."
    if report["truncated"]:
        yield f"truncated to what the base can read: {count(report['truncated'], 'text')}."


def legend_of_columns(report: dict) -> Iterator[str]:
    """Yield what the columns are."""
    tests, results = report["tests"], report["results"]
    yield (
        f"{', '.join(map(title, tests))}: {report['metric']} in percent, mean ± standard deviation "
        "over seeds."
    )
    if "ood" in tests:
        yield "OOD: out of distribution, examples of kinds that no training example has."
    yield "dev half → end: the same on dev, at half and at the end of the steps."
    if not all(result["converged"] for result in results):
        yield (
            "*: not converged, the dev score still rose by more than a point in the second half of "
            "the steps, or is more than a point below that of a linear probe."
        )
    if any(result["forgets"] for result in results):
        yield "forgets: rise of the loss on held-out general text, in nats per token."
    plan = report["plan"]
    pilot = ""
    if plan["pilot_steps"] and len(plan["lrs"]) != 1:
        pilot = f", chosen by the loss in a pilot of {count(plan['pilot_steps'], 'step')}"
    yield (
        f"lr: learning rate{pilot}.  s/run: seconds of one training run.  peak MiB: most memory "
        "allocated in a training step."
    )


def legend_of_rows(report: dict) -> Iterator[str]:
    """Yield what the rows without a method are, and whether the methods are above them."""
    for name in report["baselines"]:
        yield f"{name}: {BASELINES[name]}."
    if report["ceiling"]:
        yield "ceiling: the score of someone who knows how the examples were made."
    unclear = [
        split_name(test)
        for test in report["tests"]
        if report["results"] and not clear(report, test)
    ]
    if unclear:
        baselines = " and the ".join(report["baselines"])
        yield (
            f"{' and '.join(unclear)}: no method is clearly above the {baselines}, by two "
            "standard errors of the test examples and seeds.  More steps may help: --steps, "
            "--budget, --long."
        )


def clear(report: dict, test: str) -> bool:
    """Return whether a method is two standard errors above every baseline on a test split.

    The variance of n scores between 0 and 1 with mean p is at most p (1 - p): that of their mean is
    at most p (1 - p) / n, plus that over seeds.
    """
    metric, n = report["metric"], report["examples"][test]
    highest = max(scores[test][metric] for scores in report["baselines"].values())
    for result in report["results"]:
        score = result[test][metric]
        p = score["mean"]
        if p - 2 * (p * (1 - p) / n + score["std"] ** 2 / len(score["runs"])) ** 0.5 > highest:
            return True
    return False


def markdown(report: dict, plot: str | None = None) -> str:
    """Return a page with the legend, the table and the plot, an image file."""
    lists = "\n".join(f"- {line}" for line in legend(report).splitlines())
    image = f"\n\n![{report['task']}]({plot})" if plot else ""
    return f"# {report['task']}\n\n{lists}\n\n{markdown_table(rows(report))}{image}\n"


def markdown_table(rows: Iterable[list[str]]) -> str:
    """Return a table of Markdown; the first row has the titles."""
    titles, *body = rows
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
