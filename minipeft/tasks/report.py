"""A comparison to look at: the rows of a table, a page, a plot."""

import numpy as np


def rows(report):
    """The head of the table, and its rows, as text."""
    tests, metric = report["tests"], report["metric"]
    references = [(f"({name})", scores) for name, scores in report["baselines"].items()]
    yield ["method", "trained", *tests, "rate", "seconds", "MiB"]
    for name, scores in references:
        yield [name, "0", *[percent(scores[t][metric]) for t in tests], "", "", ""]
    for r in report["results"]:
        scores = [r[t][metric] for t in tests]
        told = [f"{percent(s['mean'])} ± {percent(s['spread'])}" for s in scores]
        costs = f"{r['rate']:g}", f"{r['seconds']:.1f}", f"{r['memory'] / 2**20:.0f}"
        yield [r["method"], f"{r['trainable']:,}", *told, *costs]
    if report["ceiling"]:
        yield ["(ceiling)", "", *[percent(report["ceiling"][t]) for t in tests], "", "", ""]


def percent(share):
    return f"{100 * share:.1f}"


def legend(report):
    """What the columns are."""
    plan, size = report["plan"], report["parameters"]
    cut = f" {report['shortened']} texts were cut short." if report["shortened"] else ""
    random = "; `(random)`: a probe of random weights" * ("random" in report["baselines"])
    return (
        f"{report['metric']} in percent, mean ± standard deviation of {plan['seeds']} seeds, "
        f"after {plan['steps']} steps of {plan['batch']}; the base has {size:,} numbers, frozen. "
        "`trained`: numbers that were trained; `rate`: the learning rate, the best of "
        f"{', '.join(f'{r:g}' for r in plan['rates'])} on dev; `seconds`: of one training; `MiB`: "
        f"the most that it allocates{random}.{cut}"
    )


def markdown(report, plot=None):
    """The page: the table, what is in it, and the plot."""
    head, *body = rows(report)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    picture = f"\n\n![{report['task']}]({plot})" if plot else ""
    return f"# {report['task']}\n\n{table}\n\n{legend(report)}{picture}\n"


def plot(report, path):
    """A PNG: in-domain against out-of-domain, size against score, and the way there.

    ImportError without matplotlib.
    """
    from matplotlib.figure import Figure

    panels = [across, costs, curves] if len(report["tests"]) > 1 else [costs, curves]
    figure = Figure(figsize=(5 * len(panels), 4.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels)), panels):
        panel(axes, report)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    figure.suptitle(f"{report['task']}: a frozen base of {report['parameters']:,} numbers, adapted")
    figure.savefig(path, dpi=150)


def across(axes, report):
    one, other = report["tests"][:2]
    for i, r in enumerate(report["results"]):
        (x, dx), (y, dy) = reached(report, r, one), reached(report, r, other)
        axes.errorbar(x, y, xerr=dx, yerr=dy, fmt="o", color=f"C{i}", ms=7)
    axes.axline((x, x), slope=1, ls=":", color="0.6", zorder=0)
    axes.set(xlabel=f"{report['metric']} on {one}, %", ylabel=f"{report['metric']} on {other}, %")


def costs(axes, report):
    test, metric = report["tests"][0], report["metric"]
    for i, r in enumerate(report["results"]):
        x, (y, dy) = r["trainable"], reached(report, r, test)
        axes.errorbar(x, y, yerr=dy, fmt="o", color=f"C{i}", ms=7)
        axes.annotate(r["method"], (x, y), xytext=(7, 5), textcoords="offset points")
    floors = [f"{name} {percent(s[test][metric])}" for name, s in report["baselines"].items()]
    axes.set_title(", ".join(floors), fontsize="small", color="0.4")
    axes.set(xscale="log", xlabel="trained numbers", ylabel=f"{metric} on {test}, %")


def reached(report, result, test):
    """(mean, spread) in percent."""
    score = result[test][report["metric"]]
    return 100 * score["mean"], 100 * score["spread"]


def curves(axes, report):
    for i, r in enumerate(report["results"]):
        steps = min(map(len, r["losses"]))
        mean = np.mean([losses[:steps] for losses in r["losses"]], 0)
        window = np.ones(w := max(1, steps // 10)) / w
        smooth = np.convolve(mean, window, "valid")
        axes.plot(np.arange(w, steps + 1), smooth, color=f"C{i}", label=r["method"])
    axes.set(xlabel="step", ylabel="training loss, smoothed")
