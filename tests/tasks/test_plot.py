"""The plot of a comparison: panels, labels that do not overlap, lines of chance."""

import math
import re

import numpy as np
import pytest

from minipeft.tasks import plot as plots
from minipeft.tasks.placement import overlap, place
from minipeft.tasks.plot import plot
from tests.support.reports import ALL, make_report, score

BOUNDS = 0.0, 0.0, 300.0, 220.0


def boxes(centres, sizes):
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], -1)


GRID = [(90 + 20 * (i % 6), 95 + 14 * (i // 6)) for i in range(18)]
DIAGONAL = [(60 + 8 * i, 40 + 7 * i) for i in range(18)]
SPIRAL = [(150 + 3 * i * np.cos(i), 110 + 2 * i * np.sin(i)) for i in range(18)]
ROW = [(20 + 15 * i, 110) for i in range(18)]


@pytest.mark.parametrize("points", [GRID, DIAGONAL, SPIRAL, ROW])
def test_18_crowded_labels_do_not_overlap_and_stay_in_the_picture(points):
    sizes = np.array([(50, 10)] * 18)
    placed = boxes(place(points, sizes, [], BOUNDS), sizes)
    assert (placed[:, :2] >= 0).all() and (placed[:, 2:] <= BOUNDS[2:]).all()
    for i, box in enumerate(placed):
        assert overlap(box, np.delete(placed, i, 0)) < 1e-9


def test_a_label_alone_is_next_to_its_point_and_avoids_an_obstacle():
    sizes, wall = [(40, 10)], [(104, 0, 400, 300)]
    (free,), (left,) = (place([(100, 100)], sizes, walls, BOUNDS) for walls in ([], wall))
    assert (free == [125, 100]).all() and left[0] <= 100
    assert overlap(boxes(left[None], np.array(sizes)), np.array(wall, float)) == 0


@pytest.fixture
def figure(tmp_path, monkeypatch):
    """figure(report): {name: axes} of its plot."""

    def axes_of(report):
        panels = {}
        for name, panel in plots.PANELS.items():
            keep = lambda axes, report, name=name, panel=panel: (
                panels.update({name: axes}),
                panel(axes, report),
            )
            monkeypatch.setitem(plots.PANELS, name, keep)
        plot(report, tmp_path / "plot.png")
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
        return panels

    return axes_of


def words(axes):
    return {text.get_text(): text for text in axes.texts}


def test_the_panels_have_titles_names_and_chance(figure):
    panels = figure(make_report(ALL))
    assert [*panels] == ["tests", "sizes", "losses", "legend"]
    baselines = {"majority class", "untrained base"}
    assert words(panels["sizes"]).keys() == {*ALL} | baselines
    assert words(panels["tests"]).keys() == {*ALL} | baselines | {"OOD = test"}
    assert all(panels[name].get_title() for name in ("tests", "sizes", "losses"))
    assert panels["sizes"].get_xlabel() == "trained parameters"
    assert panels["sizes"].get_xscale() == "log"
    for name in ("tests", "sizes"):
        low, high = panels[name].get_ylim()
        assert low < 50 < 82 < high  # chance and the best method
    assert len(panels["losses"].lines) == len(ALL) - 1  # a probe has no steps
    names = [text.get_text() for text in panels["legend"].get_legend().get_texts()]
    assert names == ALL
    styles = {(line.get_color(), line.get_ls()) for line in panels["losses"].lines}
    assert len(styles) == len(ALL) - 1


def test_what_is_missing_is_left_out(figure):
    report = make_report(["probe", "lora", "full"], ["test"])
    report["results"][1] |= {"test": {"accuracy": score(math.nan, math.nan)}}
    report["results"][2] |= {"losses": [[], [1.0]]}  # the first loss of a seed was not finite
    panels = figure(report)
    assert [*panels] == ["sizes", "losses", "legend"]
    assert {"probe", "full"} < words(panels["sizes"]).keys() and "lora" not in words(
        panels["sizes"]
    )
    assert len(panels["losses"].lines) == 1


def test_an_svg_is_small_and_the_same_each_time(tmp_path):
    for name in ("a.svg", "b.svg"):
        plot(make_report(), tmp_path / name, "white", "none")
    first, second = ((tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second and len(first) < 150_000
    assert not re.search(rb"<script|<image|href=\"http", first.replace(b"xlink", b""))
