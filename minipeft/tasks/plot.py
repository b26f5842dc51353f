"""Plot of a comparison: test against OOD scores, scores against trained parameters, losses."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ..data.words import count
from .placement import GAPS, place
from .report import split_name, title

COLOURS = "#2f81f7 #d9822b #2da44e #e5534b #a371f7 #b07d48 #db61a2 #17a2b8".split()
STYLES = ("o", "-"), ("s", "--"), ("^", ":")  # of the first, second and third eight methods
INK, FAINT = "#24292f", "#848d97"  # FAINT and COLOURS are legible on white and on black


def plot(report: dict, path, ink: str = INK, paper: str = "white") -> None:
    """Save a picture of a comparison: see `draw`."""
    two_tests = len(report["tests"]) > 1
    mosaic: list = [["tests", "sizes"], ["losses", "legend"]]
    height, panels = (7.6, mosaic) if two_tests else (3.8, [["sizes", "losses", "legend"]])
    draw(
        {name: partial(f, report=report) for name, f in PANELS.items()},
        panels,
        height,
        path,
        ink,
        paper,
    )


def draw(
    panels: dict[str, Callable], mosaic: list, height: float, path, ink=INK, paper="white"
) -> None:
    """Save a picture, PNG or SVG by the ending of `path`; paper "none" is transparent.

    panels: {name: f(axes)}.  mosaic: rows of names.  height: in inches, as the width of 10.
    Raises ImportError without matplotlib.
    """
    import matplotlib
    from matplotlib.figure import Figure

    inks = "text.color axes.labelcolor axes.edgecolor xtick.color ytick.color grid.color".split()
    settings: dict = dict.fromkeys(inks, ink) | {"axes.facecolor": "none"}
    settings |= {"font.family": "DejaVu Sans", "svg.hashsalt": "minipeft"}
    with matplotlib.rc_context(settings):
        figure = Figure((10, height), layout="constrained")
        axes = figure.subplot_mosaic(mosaic)
        for name, panel in axes.items():
            panel.margins(0.1)
            panels[name](panel)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout stays as it is now
        for panel in axes.values():
            place_labels(panel)
        date = {"Date": None} if str(path).endswith("svg") else None  # equal bytes every time
        figure.savefig(path, dpi=150, facecolor=paper, metadata=date)


def look(i: int) -> dict:
    """Return the colour, the marker and the line of a method."""
    marker, line = STYLES[i // len(COLOURS) % len(STYLES)]
    return {"color": COLOURS[i % len(COLOURS)], "marker": marker, "ls": line}


def decorate(axes, name: str, **labels) -> None:
    """Give axes their title, labels and grid."""
    axes.set_title(name, fontsize=11, weight="bold")
    axes.set(**labels)
    axes.grid(alpha=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def label(axes, name: str, x: float, y: float, colour: str) -> None:
    """Write a name beside a point; `place_labels` will say where."""
    line = {"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 0, "shrinkB": 4}
    style = {"fontsize": 9, "color": colour, "ha": "center", "va": "center"}
    axes.annotate(name, (x, y), (0, 0), textcoords="offset points", arrowprops=line, **style)


def plot_points(axes, report: dict, points: list) -> None:
    """Plot (x, dx, y, dy) of each method, with its name."""
    for i, (result, (x, dx, y, dy)) in enumerate(zip(report["results"], points)):
        if np.isfinite([x, y]).all():
            axes.errorbar(x, y, xerr=dx, yerr=dy, ms=6, lw=1.2, **look(i))
            label(axes, result["method"], x, y, look(i)["color"])


def plot_tests(axes, report: dict) -> None:
    """Plot the scores of one test split against those of another."""
    first, second = report["tests"][:2]
    metric = report["metric"]
    points = [(*scores(report, r, first), *scores(report, r, second)) for r in report["results"]]
    plot_points(axes, report, points)
    for score in report["baselines"].values():
        x, y = (100 * score[test][metric] for test in (first, second))
        axes.vlines(x, 0, 1, FAINT, ":", lw=1, transform=axes.get_xaxis_transform())
        axes.hlines(y, 0, 1, FAINT, ":", lw=1, transform=axes.get_yaxis_transform())
    for name, score in report["baselines"].items():
        label(axes, name, axes.get_xlim()[1], 100 * score[second][metric], FAINT)
    names = split_name(first), split_name(second)
    labels = {"xlabel": f"{metric}, {title(first)}", "ylabel": f"{metric}, {title(second)}"}
    decorate(axes, f"Scores on {names[0]} and {names[1]}", **labels)
    plot_diagonal(axes, f"{names[1]} = {names[0]}", [(x, y) for x, _, y, _ in points])


def plot_diagonal(axes, text: str, points: list) -> None:
    """Plot y = x, in dashes that labels avoid, with a text along it, far from the points."""
    from matplotlib.collections import LineCollection

    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # they no longer change
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    ends = np.linspace(low.max(), high.min(), 81)
    dashes = np.repeat(ends[:80].reshape(40, 2, 1), 2, axis=2)  # from (x, x) to (y, y)
    axes.add_collection(LineCollection([*dashes], lw=1, color=FAINT, zorder=0))
    places = ends[25:65:3]
    away = abs(places[:, None, None] - np.reshape(points, (-1, 2))) / (high - low)
    place = places[np.nanmin(away.max(-1), axis=1, initial=1).argmax()]
    style = {"fontsize": 9, "color": FAINT, "ha": "center", "va": "bottom", "clip_on": True}
    turned = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    axes.text(place, place, text, **style, **turned)


def plot_sizes(axes, report: dict) -> None:
    """Plot the scores of a test split against the number of trained parameters."""
    test, metric, results = report["tests"][0], report["metric"], report["results"]
    sizes = [result["trained_params"] for result in results]
    axes.set(xscale="log", xlim=(min(sizes) / 4, 3 * max(sizes)))
    plot_points(axes, report, [(r["trained_params"], 0, *scores(report, r, test)) for r in results])
    for name, score in report["baselines"].items():
        y = 100 * score[test][metric]
        axes.hlines(y, 0, 1, FAINT, ":", lw=1, transform=axes.get_yaxis_transform())
        label(axes, name, min(sizes) / 4, y, FAINT)
    labels = {"xlabel": "trained parameters", "ylabel": f"{metric}, {title(test)}"}
    decorate(axes, f"Scores on {split_name(test)} and sizes", **labels)


def scores(report: dict, result: dict, test: str) -> tuple[float, float]:
    """Return the mean score of a method and its standard deviation, in percent."""
    score = result[test][report["metric"]]
    return 100 * score["mean"], 100 * score["std"]


def plot_losses(axes, report: dict) -> None:
    """Plot the training loss of each method: mean over seeds, moving average over steps."""
    for i, result in enumerate(report["results"]):
        steps = min(map(len, result["losses"]), default=0)
        if not steps:  # it is solved without steps, or the first loss was not finite
            continue
        mean = np.mean([losses[:steps] for losses in result["losses"]], 0)
        window = np.ones(w := max(1, steps // 10)) / w
        smooth = np.convolve(mean, window, "valid")
        every = slice(None, None, -(-steps // 100))
        axes.plot(np.arange(w, steps + 1)[every], smooth[every], **look(i) | {"marker": ""})
    decorate(axes, "Training losses", xlabel="step", ylabel="loss, moving average")


def plot_legend(axes, report: dict) -> None:
    """Write what the picture is of, and the names of the methods."""
    from matplotlib.lines import Line2D

    plan, results = report["plan"], report["results"]
    lines = [Line2D([], [], **look(i), label=result["method"]) for i, result in enumerate(results)]
    text = (
        f"{report['task']}, with a frozen base of\n{report['base_params']:,} parameters: mean and\n"
        f"standard deviation of {count(plan['seeds'], 'seed')}"
    )
    axes.axis("off")
    axes.legend(handles=lines, title=text, loc="center", ncols=1 + len(lines) // 10, frameon=False)


PANELS = {"tests": plot_tests, "sizes": plot_sizes, "losses": plot_losses, "legend": plot_legend}


def place_labels(axes) -> None:
    """Move the labels of points to where they overlap neither one another nor what is plotted."""
    from matplotlib.text import Annotation

    labels = [text for text in axes.texts if isinstance(text, Annotation)]
    if not labels:
        return
    points = 72 / axes.figure.dpi  # in a pixel
    extents = lambda artists: [points * artist.get_window_extent().extents for artist in artists]
    boxes = np.array(extents(labels))
    sizes = boxes[:, 2:] - boxes[:, :2]
    anchors = points * axes.transData.transform([text.xy for text in labels])
    words = [text for text in axes.texts if text not in labels]
    segments = [
        points * bars.get_transform().transform(segment)
        for bars in axes.collections  # of standard deviations and baselines
        for segment in bars.get_segments()
    ]
    lines = [np.concatenate([line.min(0) - 1, line.max(0) + 1]) for line in segments]
    markers = [*np.concatenate([anchors - 4, anchors + 4], -1)]
    centres = place(anchors, sizes, markers + lines + extents(words), *extents([axes]))
    for text, offset, size in zip(labels, centres - anchors, sizes):
        text.set_position(offset)
        text.arrow_patch.set_visible((abs(offset) - size / 2).max() > GAPS[0] + 1)
