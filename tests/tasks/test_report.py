"""Reports of comparisons: the table, its legend, the page, the table of the terminal."""

import math

import pytest
from rich.console import Console

from minipeft.commands.tables import comparison_table
from minipeft.tasks.report import legend, markdown, rows
from tests.support.reports import ALL, make_report, result, score

BIG = [
    result(name, 3) | {"trained_params": 134_515_008, "lr": 0.00015, "test": {"accuracy": s}}
    for name, s in (("full", score(1.0, 0.123)), ("lora", score(math.nan, math.nan)))
]


def shown(report, width):
    """Return the lines of the table in a terminal of so many columns."""
    console = Console(width=width)
    with console.capture() as capture:
        console.print(comparison_table(report, width))
    return capture.get().splitlines()


# -- the table


def test_the_table_has_the_fields_of_each_method():
    report = make_report(["probe", "lora"])
    assert [*rows(report)] == [
        ["method", "trained params", "test %", "OOD %"]
        + ["dev half → end", "forgets", "lr", "s/run", "peak MiB"],
        ["majority class", "0", "50.0", "50.0", "", "", "", "", ""],
        ["untrained base", "0", "54.0", "54.0", "", "", "", "", ""],
        ["probe", "256", "70.0", "65.0", "70.0", "", "", "0.0", ""],
        ["lora", "512", "71.0 ± 1.0", "66.0 ± 1.0", "69.0 → 71.0", "0.10", "0.005", "1.5", "1"],
        ["ceiling", "", "100.0", "100.0", "", "", "", "", ""],
    ]


def test_what_is_not_measured_has_no_column_and_no_line():
    report = make_report(["probe"], ["test"], pool=None, pools=None, ceiling=None)
    titles, *body = rows(report)
    assert not {"OOD %", "forgets"} & set(titles) and len(body) == 3
    assert {len(row) for row in body} == {len(titles)}
    absent = "OOD", "forgets", "pool", "ceiling", "truncated", "converged"
    assert not [word for word in absent if word in legend(report)]


def test_a_loss_that_falls_by_nothing_has_no_sign():
    report = make_report(results=[result("lora", 1) | {"forgets": score(-0.001)}])
    assert [*rows(report)][3][5] == "0.00"


def test_a_score_of_one_run_has_no_deviation():
    lora = result("lora", 1) | {"test": {"accuracy": score(0.7, 0.0, 1)}}
    assert [*rows(make_report(results=[lora]))][3][2] == "70.0"


def test_other_metrics_and_scores_that_are_no_numbers_are_shown():
    report = make_report(["lora"], metric="BLEU")
    report["results"][0]["test"]["BLEU"] = score(math.nan, math.nan)
    assert [*rows(report)][3][2] == "nan ± nan" and "BLEU in percent" in legend(report)


# -- the legend


def test_methods_that_are_not_converged_have_a_mark_and_a_line():
    report = make_report(["prompt", "lora"])
    assert [row[0] for row in rows(report)][3:5] == ["prompt*", "lora"]
    line = "*: not converged, the dev score still rose by more than a point in the second half"
    assert line in legend(report)
    assert "*" not in legend(make_report(results=[result("lora", 1)]))


@pytest.mark.parametrize(
    "pools, line",
    [
        ({"last": 0.712, "mean": 0.734}, "pool: mean, preferred by dev (last 71.2, mean 73.4)."),
        (None, "pool: mean."),
    ],
)
def test_the_legend_says_which_states_are_pooled(pools, line):
    assert line in legend(make_report(pools=pools)).splitlines()


def test_the_legend_says_how_a_probe_is_solved():
    lines = legend(make_report(["probe", "lora"])).splitlines()
    assert "probe: solved exactly, with an L2 penalty of 0.001." in lines


def test_the_legend_says_that_a_hidden_probe_is_trained():
    report = make_report(["lora"])
    report["plan"]["hidden"] = 32
    assert "probe: with a hidden layer of 32, trained in steps." in legend(report).splitlines()


@pytest.mark.parametrize("change", [{"lrs": [0.1]}, {"pilot_steps": 0}])
def test_a_learning_rate_that_is_given_has_no_pilot(change):
    report = make_report()
    assert "lr: learning rate, chosen by the loss in a pilot of 10 steps." in legend(report)
    assert "lr: learning rate.  s/run" in legend(make_report(plan=report["plan"] | change))


@pytest.mark.parametrize(
    "test, ood, unclear",
    [
        (0.59, 0.59, None),
        (0.59, 0.56, "OOD: no method"),
        (0.56, 0.59, "test: no method"),
        (0.54, 0.40, "test and OOD: no method"),
        (math.nan, 0.59, "test: no method"),
    ],
)
def test_scores_that_may_be_chance_are_said_to_be(test, ood, unclear):
    """Two standard errors of 1,000 examples are 3.1 points near 0.54, where the baseline is."""
    splits = {"test": {"accuracy": score(test, 0)}, "ood": {"accuracy": score(ood, 0)}}
    report = make_report(results=[result("lora", 1) | splits])
    line = legend(report).splitlines()[-1]
    if unclear is None:
        assert "no method" not in line
    else:
        assert line.startswith(f"{unclear} is clearly above the majority class and the untrained")
        assert line.endswith("More steps may help: --steps, --budget, --long.")


def test_few_examples_and_a_spread_over_seeds_make_a_score_unclear():
    scores = lambda std: {t: {"accuracy": score(0.62, std)} for t in ("test", "ood")}
    report = make_report(results=[result("lora", 1) | scores(0)])
    few = report | {"examples": {"train": 80, "dev": 20, "test": 40, "ood": 40}}
    wide = make_report(results=[result("lora", 1) | scores(0.08)])
    assert ["no method is" in legend(r) for r in (report, few, wide)] == [False, True, True]
    assert "no method is" not in legend(make_report(results=[]))


# -- the page


def test_the_page_has_a_legend_and_then_the_table():
    report = make_report(truncated=7)
    page = markdown(report, "plot.png")
    titles, *body = rows(report)
    assert all(page.index(f"\n- {title}") < page.index("| method |") for title in titles[4:7])
    assert all(f"\n| {' | '.join(row)} |\n" in page for row in [titles, *body])
    explained = "test %, OOD %:", "OOD:", "s/run:", "peak MiB:", "majority class:", "ceiling:"
    assert all(name in legend(report) for name in explained)
    assert "truncated to what the base can read: 7 texts." in page and "1,048,576" in page
    assert "![sentiment](plot.png)" in page and "plot.png" not in markdown(report)


# -- the table of a terminal


@pytest.mark.parametrize(
    "report",
    [
        make_report(),
        make_report(ALL),
        make_report(["lora"], ["test"]),
        make_report(results=[]),
        make_report(["probe", "lora", "full"], results=[result("probe")]),
        make_report(task="a task whose name is longer than the whole table " * 3),
        make_report(results=BIG),
    ],
    ids=["kinds", "all", "one test split", "no result", "stopped", "long name", "big numbers"],
)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_row_is_a_line_and_no_number_is_folded(report, width):
    titles, *body = rows(report)
    lines = shown(report, width)
    assert max(map(len, lines)) <= width
    for row in body:
        (line,) = (line for line in lines if line.split(" ")[0] == row[0].split(" ")[0])
        shown_cells, cells = " ".join(line.split()), " ".join(cell for cell in row if cell)
        assert f"{cells} ".startswith(f"{shown_cells} ") and (width < 200 or shown_cells == cells)


def test_80_columns_are_enough_for_all_but_memory():
    *_, caption = shown(make_report(), 80)
    assert caption.split() == "sentiment, 171 s; the terminal is too narrow for peak MiB".split()
    assert "narrow" not in shown(make_report(), 92)[-1]


def test_a_method_that_was_stopped_has_a_line():
    stopped = make_report(["probe", "lora", "full"], results=[result("probe")])
    lines = shown(stopped, 80)
    assert [line.split()[1:] for line in lines if line.startswith("lora")] == [["…"] * 7]
    assert not [line for line in lines if line.startswith("full")]
