"""Intervals, contrasts and verdicts of claims."""

import math

import numpy as np
import pytest

from minipeft.experiments.claim import Claim, Contrast, Rows, T, difference, interval
from minipeft.experiments.study import fixed_row


@pytest.mark.parametrize("degrees", T)
def test_t_leaves_a_twentieth_outside(degrees):
    """T is a quantile of Student's density, by the trapezoidal rule."""
    t = np.linspace(-T[degrees], T[degrees], 200_001)
    log_constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    density = (1 + t**2 / degrees) ** (-(degrees + 1) / 2) * math.exp(log_constant)
    assert np.trapezoid(density, t) / math.sqrt(degrees * math.pi) == pytest.approx(0.95, abs=1e-4)


def test_the_interval_of_a_mean():
    mean, low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776 * math.sqrt(2.5 / 5)
    assert (mean, low, high) == pytest.approx((3, 3 - half, 3 + half))
    assert interval([0.7]) == (0.7, 0.7, 0.7)
    _, low, high = interval(np.arange(21.0))
    assert high - low == pytest.approx(2 * 2.086 * math.sqrt(38.5 / 21), rel=3e-3)


def test_the_interval_covers_the_mean_in_95_percent_of_samples():
    samples = np.random.default_rng(0).normal(2.0, 3.0, (4000, 5))
    covered = np.mean([low <= 2.0 <= high for _, low, high in map(interval, samples)])
    assert covered == pytest.approx(0.95, abs=0.014)  # four standard errors


ROWS = [
    fixed_row("a", {"test": 0.8}, {"test": 0.9}, {"test": 0.85}),
    fixed_row("b", {"test": 0.5}, {"test": 0.6}, {"test": 0.52}),
    fixed_row("c", {"test": 0.51}),
    fixed_row("d", {"test": 0.3}, {"test": 0.9}, {"test": 0.6}),
    fixed_row("line", {"test": 0.3}, x=10),
    fixed_row("line", {"test": 0.4}, x=2),
]


@pytest.mark.parametrize(
    "a, b, margin, verdict, agree",
    [
        ("a", "b", 0.0, "shown", (3, 3)),
        ("b", "a", 0.0, "contradicted", (0, 3)),
        ("d", "b", 0.0, "not shown", (2, 3)),
        ("b", "c", 0.2, "shown", (3, 3)),
        ("a", "b", 0.2, "contradicted", (0, 3)),
        ("b", "a", 0.2, "contradicted", (0, 3)),
        ("b", "d", 0.19, "not shown", (1, 3)),
        ("b", "c", 0.1, "not shown", (3, 3)),
    ],
)
def test_the_verdict_of_a_contrast(a, b, margin, verdict, agree):
    rows, contrast = Rows(ROWS), difference(a, b, "test", margin=margin)
    assert contrast.verdict(rows) == verdict and contrast.agree(rows) == agree
    assert contrast.values(rows)[0] == pytest.approx(
        dict(a=0.8, b=0.5, c=0.51, d=0.3)[a] - dict(a=0.8, b=0.5, c=0.51, d=0.3)[b]
    )


def verdict(*pairs):
    contrasts = tuple(difference(a, b, "test") for a, b in pairs)
    return Claim("CL-0", "", "", "", "", contrasts, "").verdict(Rows(ROWS))


def test_the_verdict_of_a_claim():
    shown, contradicted, open_ = ("a", "b"), ("b", "a"), ("d", "b")
    assert verdict(shown, shown) == "shown"
    assert verdict(contradicted) == "contradicted"
    assert verdict(open_, open_) == "not shown"
    assert verdict(shown, open_) == "shown in part"
    assert verdict(shown, contradicted) == "shown in part, contradicted in part"
    assert verdict(contradicted, open_) == "contradicted in part"


def test_a_contrast_whose_rows_are_missing_is_left_out():
    assert verdict(("a", "b"), ("a", "elsewhere")) == "shown"
    contrast = Contrast("", lambda rows: rows("line", "test", 3))
    with pytest.raises(KeyError, match="no row 'line' with x=3"):
        contrast.values(Rows(ROWS))


def test_rows_are_found_by_x():
    rows = Rows(ROWS)
    assert rows.xs("line") == [2, 10] and rows("line", "test", 2) == [0.4]
