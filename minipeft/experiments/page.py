"""The page of all claims: what is claimed, what the papers measured, what we measure."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from textwrap import fill

import numpy as np

from ..data.words import count
from ..tasks.plot import FAINT, decorate, draw, look
from ..tasks.report import markdown_table
from .claim import Claim, Rows, interval
from .results import contrasts

HEAD = """\
# Claims

What four documents and the papers behind them claim about methods that adapt a frozen language
model, measured on [the built-in world](../minipeft/world/README.md) with models of 0.1 to 3
million parameters. The papers' models are up to a million times larger. A verdict is therefore
one at this size: it does not say that a paper is wrong.

A claim is decided by contrasts, differences that are positive if the claim holds. A contrast
has one value for each of five seeds; the table gives the mean and its 95 % interval (Student's
t). It is **shown** if the interval is above 0, **contradicted** if it is below 0, and otherwise
**not shown**. If the claim is that two things are alike, it is shown if the interval is within
a margin. A seed determines the initial values and the batches and, where stated, the examples.
All seeds have the same test examples, so the intervals leave out what other ones would change.

Unless stated otherwise, a step has 8 examples, and every method has the same four learning
rates of AdamW: each is tried with the first seed, and the one with the best score on dev (the
lowest loss, where text is generated) is used with all seeds. A new head starts from a linear
probe of the frozen base (Kumar et al. 2022), not at random.

`minipeft claims CL-2` measures a claim again, and `python docs/claims.py` makes this page from
the stored results.
"""


def page(claims: list[Claim], reports: list[dict]) -> str:
    """Return the page, in Markdown, of claims and their stored results."""
    pairs = [*zip(claims, reports)]
    table = [["claim", "contrasts shown", "verdict"]]
    for claim, report in pairs:
        verdicts = [contrast["verdict"] for contrast in contrasts(claim, report["rows"])]
        shown = f"{verdicts.count('shown')} of {len(verdicts)}"
        verdict = claim.verdict(Rows(report["rows"]))
        table.append([f"[{claim.id}](#{anchor(claim)}) {claim.title}", shown, verdict])
    return "\n".join([HEAD, markdown_table(table), "", *(section(*pair) for pair in pairs)])


def anchor(claim: Claim) -> str:
    """Return the anchor that GitHub gives to the heading of a claim."""
    kept = (c for c in f"{claim.id} {claim.title}".lower() if c.isalnum() or c in " -")
    return "".join(kept).replace(" ", "-")


def section(claim: Claim, report: dict) -> str:
    """Return the section of a claim."""
    rows, steps = report["rows"], report["settings"]["steps"]
    texts = {
        "Claim": f"{claim.statement} ({claim.source})",
        "Papers": claim.paper,
        "Here": f"{claim.setup} {count(steps, 'step')}, unless stated otherwise.",
        "Limits": claim.limits,
        "Verdict": claim.verdict(Rows(rows)),
    }
    parts = [fill(f"**{name}.** {text}", 116) + "\n" for name, text in texts.items() if text]
    parts += [
        markdown_table(contrast_lines(contrasts(claim, rows))),
        f"\n![The scores of {claim.id}](images/claims/{claim.id}.svg)\n",
        f"<details><summary>All scores of {claim.id}</summary>\n",
        markdown_table(score_lines(claim, rows)),
        "\n</details>\n",
    ]
    return "\n".join([f"## {claim.id} {claim.title}\n", *parts])


def spell_ood(text: str) -> str:
    """Return a text with "OOD" for the split ood."""
    return re.sub(r"\bood\b", "OOD", text)


def contrast_lines(found: list[dict]) -> Iterator[list[str]]:
    """Yield the titles, and a line for each contrast."""
    yield ["contrast", "mean", "95 % interval", "seeds that agree", "verdict"]
    for c in found:
        mean, low, high = (signed(c[key], c["unit"]) for key in ("mean", "low", "high"))
        unit = f" {c['unit']}"
        margin = f" (alike: ±{100 * c['margin']:g})" if c["margin"] else ""
        seeds = f"{c['agree']} of {c['seeds']}"
        yield [spell_ood(c["text"]) + margin, mean + unit, f"{low} to {high}", seeds, c["verdict"]]


def score_lines(claim: Claim, rows: list[dict]) -> Iterator[list[str]]:
    """Yield the titles, and a line with all scores for each row."""
    names = [*dict.fromkeys(name for row in rows for name in row["scores"])]
    units = [claim.units.get(name, "%") for name in names]
    x = [claim.xlabel] if claim.xlabel else []
    yield [
        "",
        *x,
        "trained params",
        "lr",
        *(spell_ood(f"{n}, {unit}") for n, unit in zip(names, units)),
    ]
    for row in rows:
        at = [f"{row['x']:,g}" if "x" in row else ""] if claim.xlabel else []
        cells = [
            score(row["scores"][name], unit) if name in row["scores"] else ""
            for name, unit in zip(names, units)
        ]
        params, lr = f"{row['params']:,}" if "params" in row else "", str(row.get("lr", ""))
        yield [row["name"], *at, params, lr, *cells]


def score(values: list[float], unit: str) -> str:
    """Return the mean of a score, and half of its 95 % interval."""
    factor, digits = (100, 1) if unit == "%" else (1, 3)
    mean, low, _ = interval(values)
    half = f" ± {factor * (mean - low):.{digits}f}" if len(values) > 1 else ""
    return f"{factor * mean:.{digits}f}{half}"


def signed(value: float, unit: str) -> str:
    """Return a difference with its sign: a share in points of percent."""
    return f"{100 * value:+.1f}" if unit == "points" else f"{value:+.3f}"


def plot(claim: Claim, report: dict, path) -> None:
    """Save the plot of a claim's rows, by their x if they have one, legible on white and black.

    There is a panel for each unit of the scores.
    """
    rows = report["rows"]
    names = [*dict.fromkeys(name for row in rows for name in row["scores"])]
    units: dict[str, list[str]] = {}
    for name in names:
        units.setdefault(claim.units.get(name, "%"), []).append(name)
    draw_panel = plot_lines if claim.xlabel else plot_dots
    panels: dict[str, Callable] = {
        unit: partial(draw_panel, claim=claim, rows=rows, scores=scores, unit=unit)
        for unit, scores in units.items()
    }
    height = 3.4 if claim.xlabel else 1.2 + 0.28 * len(rows)
    draw(panels, [[*panels]], height, path, FAINT, "none")


def plot_dots(axes, claim: Claim, rows: list[dict], scores: list[str], unit: str) -> None:
    """Plot the mean and the 95 % interval of scores, a line for each row."""
    rows = [row for row in rows if any(name in row["scores"] for name in scores)]
    for i, name in enumerate(scores):
        first = next(y for y, row in enumerate(rows) if name in row["scores"])
        for y, row in enumerate(rows):
            if name in row["scores"]:
                mean, low, _ = scaled(row["scores"][name], unit)
                shift = 0.12 * (i - (len(scores) - 1) / 2)
                style = look(i) | {"ls": "", "label": spell_ood(name) if y == first else None}
                axes.errorbar(mean, y + shift, xerr=mean - low, **style)
    axes.set_yticks(range(len(rows)), [spell_ood(row["name"]) for row in rows])
    axes.invert_yaxis()
    legend(axes, scores)
    decorate(axes, claim.id, xlabel=spell_ood(f"{', '.join(scores)}, {unit}"))


def plot_lines(axes, claim: Claim, rows: list[dict], scores: list[str], unit: str) -> None:
    """Plot the mean and the 95 % interval of scores against x, a line for each name."""
    lines = [(row["name"], name) for row in rows for name in scores if name in row["scores"]]
    lines = [*dict.fromkeys(lines)]
    for i, (row_name, name) in enumerate(lines):
        label = row_name if len(scores) == 1 else spell_ood(f"{row_name}, {name}")
        points = [row for row in rows if row["name"] == row_name and name in row["scores"]]
        means = [scaled(row["scores"][name], unit) for row in points]
        y, half = [m.mean for m in means], [m.mean - m.low for m in means]
        if "x" in points[0]:
            axes.errorbar([row["x"] for row in points], y, half, capsize=3, label=label, **look(i))
        else:
            axes.axhline(y[0], lw=1, label=label, **look(i) | {"marker": "", "ls": ":"})
    xs = sorted({row["x"] for row in rows if "x" in row})
    if xs[-1] > 8 * xs[0] > 0:
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{x:,g}" for x in xs])
        axes.minorticks_off()
    legend(axes, lines)
    decorate(axes, claim.id, xlabel=claim.xlabel, ylabel=spell_ood(f"{', '.join(scores)}, {unit}"))


def scaled(values: list[float], unit: str):
    """Return the interval of a score in its unit."""
    return interval(np.multiply(values, 100 if unit == "%" else 1))


def legend(axes, entries: list) -> None:
    """Add a legend beside the axes if there is more than one entry."""
    if len(entries) > 1:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
