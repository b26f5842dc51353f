"""Reports of a comparison: a table, a page, a plot."""

from collections.abc import Iterator

import numpy as np

from ..data.words import count

BASELINES = {
    "majority class": "always predict what is most frequent in training",
    "untrained base": "a probe of the same network with random weights: what its architecture can "
    "do without pretraining; chance is the majority class",
    "base": "the base without adaptation",
}


def title(test: str) -> str:
    """Return the column title of a test split."""
    return f"{'OOD' if test == 'ood' else test} %"


def rows(report: dict) -> Iterator[list[str]]:
    """Yield the column titles of the table, then its rows."""
    tests, metric = report["tests"], report["metric"]
    yield ["method", "trained params", *map(title, tests), "lr", "s/run", "peak MiB"]
    for name, scores in report["baselines"].items():
        yield [name, "0", *[percent(scores[test][metric]) for test in tests], "", "", ""]
    for result in report["results"]:
        scores = [result[test][metric] for test in tests]
        yield [
            result["method"],
            f"{result['trained_params']:,}",
            *[f"{percent(score['mean'])} ± {percent(score['std'])}" for score in scores],
            f"{result['lr']:g}",
            f"{result['seconds_per_run']:.1f}",
            f"{result['peak_bytes'] / 2**20:.0f}",
        ]
    if report["ceiling"]:
        yield ["ceiling", "", *[percent(report["ceiling"][test]) for test in tests], "", "", ""]


def percent(share: float) -> str:
    """Return a share as text, in percent."""
    return f"{100 * share:.1f}"


def legend(report: dict) -> str:
    """Return what the rows and columns of the table are."""
    plan, tests = report["plan"], report["tests"]
    lrs = ", ".join(f"{lr:g}" for lr in plan["lrs"])
    lines = [
        f"Each method adapts a frozen base of {report['base_params']:,} parameters: "
        f"{count(plan['steps'], 'step')}, batches of {plan['batch_size']}, "
        f"{count(plan['seeds'], 'seed')}.",
        f"{', '.join(map(title, tests))}: {report['metric']} in percent, mean ± standard deviation "
        "over seeds.",
    ]
    if "ood" in tests:
        lines.append("OOD: out of distribution, examples of kinds that no training example has.")
    lines.append(
        f"lr: learning rate, the best of {lrs} on dev.  s/run: seconds of one training run.  "
        "peak MiB: most memory allocated in a training step."
    )
    lines += [f"{name}: {BASELINES[name]}." for name in report["baselines"]]
    if report["ceiling"]:
        lines.append("ceiling: the score of someone who knows how the examples were made.")
    if report["truncated"]:
        truncated = count(report["truncated"], "text")
        lines.append(f"truncated to what the base can read: {truncated}.")
    return "\n".join(lines)


def markdown(report: dict, plot: str | None = None) -> str:
    """Return a page with the legend, the table and the plot, an image file."""
    titles, *body = rows(report)
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *body]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    lists = "\n".join(f"- {line}" for line in legend(report).splitlines())
    image = f"\n\n![{report['task']}]({plot})" if plot else ""
    return f"# {report['task']}\n\n{lists}\n\n{table}{image}\n"


def plot(report: dict, path) -> None:
    """Save a PNG: test against OOD scores, scores against trained parameters, training losses.

    Raises ImportError without matplotlib.
    """
    from matplotlib.figure import Figure

    panels = [plot_sizes, plot_losses]
    if len(report["tests"]) > 1:
        panels.insert(0, plot_tests)
    figure = Figure(figsize=(5 * len(panels), 4.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels)), panels):
        panel(axes, report)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    figure.suptitle(f"{report['task']}: a frozen base of {report['base_params']:,} parameters")
    figure.savefig(path, dpi=150)


def plot_tests(axes, report):
    """Plot the scores of one test split against those of another."""
    first, second = report["tests"][:2]
    for i, result in enumerate(report["results"]):
        (x, dx), (y, dy) = (mean_and_std(report, result, test) for test in (first, second))
        axes.errorbar(x, y, xerr=dx, yerr=dy, fmt="o", color=f"C{i}", ms=7)
    axes.axline((x, x), slope=1, ls=":", color="0.6", zorder=0)
    metric = report["metric"]
    axes.set(xlabel=f"{metric}, {title(first)}", ylabel=f"{metric}, {title(second)}")


def plot_sizes(axes, report):
    """Plot the scores of a test split against the number of trained parameters."""
    test, metric = report["tests"][0], report["metric"]
    for i, result in enumerate(report["results"]):
        x, (y, dy) = result["trained_params"], mean_and_std(report, result, test)
        axes.errorbar(x, y, yerr=dy, fmt="o", color=f"C{i}", ms=7)
        axes.annotate(result["method"], (x, y), xytext=(7, 5), textcoords="offset points")
    baselines = [f"{name} {percent(s[test][metric])}" for name, s in report["baselines"].items()]
    axes.set_title(", ".join(baselines), fontsize="small", color="0.4")
    axes.set(xscale="log", xlabel="trained parameters", ylabel=f"{metric}, {title(test)}")


def mean_and_std(report, result, test):
    """Return the mean score and its standard deviation, in percent."""
    score = result[test][report["metric"]]
    return 100 * score["mean"], 100 * score["std"]


def plot_losses(axes, report):
    """Plot the training loss of each method: mean over seeds, moving average over steps."""
    for i, result in enumerate(report["results"]):
        steps = min(map(len, result["losses"]))
        if not steps:  # the first loss was not finite
            continue
        mean = np.mean([losses[:steps] for losses in result["losses"]], 0)
        window = np.ones(w := max(1, steps // 10)) / w
        smooth = np.convolve(mean, window, "valid")
        axes.plot(np.arange(w, steps + 1), smooth, color=f"C{i}", label=result["method"])
    axes.set(xlabel="step", ylabel="training loss, smoothed")
