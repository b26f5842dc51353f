"""A target: a bound of figures, each of one case, and whether they meet it."""

from typing import NamedTuple

TITLES = ["target", "bound", "worst figure", "cases that meet it", "met"]


class Target(NamedTuple):
    """A bound of figures: `least` or `most`."""

    text: str
    figures: dict[str, float]  # {case: figure}
    least: float | None = None
    most: float | None = None

    def meets(self, figure: float) -> bool:
        """Return whether a figure is within the bound."""
        return figure >= self.least if self.least is not None else figure <= self.most

    def row(self) -> list[str]:
        """Return the cells of a table with TITLES."""
        worst = (min if self.least is not None else max)(self.figures, key=self.figures.get)
        met = sum(map(self.meets, self.figures.values()))
        return [
            self.text,
            f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}",
            f"{self.figures[worst]:.3g} ({worst})",
            f"{met} of {len(self.figures)}",
            "yes" if met == len(self.figures) else "no",
        ]
