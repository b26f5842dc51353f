"""Counts and durations in words."""

import pytest

from minipeft.data.words import count, duration


def test_a_count_agrees_with_its_noun():
    assert [count(n, "step") for n in (0, 1, 2, 2000)] == [
        "0 steps",
        "1 step",
        "2 steps",
        "2,000 steps",
    ]
    assert [count(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "1 second"),
        (1.4, "1 second"),
        (40, "40 seconds"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (600, "10 minutes"),
        (5399, "90 minutes"),
        (5400, "2 hours"),
        (90_000, "25 hours"),
    ],
)
def test_a_duration_is_rounded(seconds, words):
    assert duration(seconds) == words
