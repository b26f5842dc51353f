"""Medians, quartiles and ratios as text."""

from statistics import median, quantiles

from minipeft.tasks.report import markdown_table


def milliseconds(seconds: list[float]) -> str:
    """Return the median in milliseconds, with three digits."""
    return short(1e3 * median(seconds))


def with_quartiles(seconds: list[float]) -> str:
    """Return the median and the quartiles, in milliseconds."""
    low, _, high = quantiles(seconds, method="inclusive") if len(seconds) > 1 else seconds * 3
    return f"{milliseconds(seconds)} [{short(1e3 * low)}–{short(1e3 * high)}]"


def short(number: float) -> str:
    """Return a number with three digits, and no fewer than its integer has."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def ratio(seconds: dict, name: str, to: str = "minipeft") -> float | None:
    """Return the median time of `name` ÷ that of `to`, or None if one was not measured."""
    if not (name in seconds and to in seconds):
        return None
    return median(seconds[name]) / median(seconds[to])


def ratios(cells: list[dict], name: str, to: str = "minipeft") -> dict[str, float]:
    """Return {case: the time of `name` ÷ that of `to`} of the cells that have both."""
    found = {" ".join(map(str, c["case"].values())): ratio(c["seconds"], name, to) for c in cells}
    return {case: value for case, value in found.items() if value}


def table(cells: list[dict], names: dict[str, str], quotients: dict[str, tuple]) -> str:
    """Return a table with a row for each cell: its case, times, and ratios.

    names: {name of a time: title of its column}.  quotients: {title: (name, name)}.
    """
    rows = [[*cells[0]["case"], *(f"{title} ms" for title in names.values()), *quotients]]
    for cell in cells:
        seconds = cell["seconds"]
        times = [with_quartiles(seconds[name]) if name in seconds else "n/a" for name in names]
        values = [ratio(seconds, *pair) for pair in quotients.values()]
        parts = [f"{value:.2f}" if value else "" for value in values]
        rows.append([*map(str, cell["case"].values()), *times, *parts])
    return markdown_table(rows)


def mebibytes(bytes: int) -> str:
    """Return bytes in MiB."""
    return short(bytes / 2**20)
