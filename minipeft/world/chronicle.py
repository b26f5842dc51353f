"""Documents with a date, "Day 17. …", that say who is mayor of each town: a fact that changes.

Where a town lies does not change.  The pretraining text has no chronicle, so a model knows as much
of one as it has read: documents up to a cut tell it nothing of the days after the cut.
"""

from functools import cache

import numpy as np

from .language import MEN, WOMEN, common_rules, pick, shuffled

DAYS = 60
TERM = (8, 20)  # days of a mayor, at least and at most
SITES = (  # where towns lie
    "by the sea, in the hills, on a river, on an island, in a wood, at a lake, near the border, "
    "at the end of the line"
).split(", ")
MAYOR = (
    "the mayor of {town} is",
    "in {town} the mayor is now",
    "{town} has a mayor called",
    "the people of {town} are led by",
    "the town hall of {town} belongs to",
    "who asks for the mayor of {town} is sent to",
)
SITE = ("{town} lies", "people find {town}", "the houses of {town} stand")


@cache
def mayors(seed: int = 0) -> dict[str, list[str]]:
    """Return {town: the mayor of each day}; a mayor follows another one."""
    rng, days = np.random.default_rng(seed), {}
    for town in common_rules()["place"]:
        days[town], people = [], shuffled(rng, WOMEN + MEN)
        while len(days[town]) < DAYS:
            days[town] += [people.pop()] * int(rng.integers(TERM[0], TERM[1] + 1))
        del days[town][DAYS:]
    return days


def mayor(town: str, day: int, seed: int = 0) -> str:
    """Return the mayor of a town on a day from 1 to DAYS."""
    return mayors(seed)[town][day - 1]


@cache
def sites(seed: int = 0) -> dict[str, str]:
    """Return {town: where it lies}: {"Tarnwick": "by the sea", ...}."""
    return dict(zip(common_rules()["place"], shuffled(np.random.default_rng(seed), SITES)))


def question(wording: str, town: str, day: int) -> str:
    """Return the beginning of a statement on a day: "Day 23. The mayor of Tarnwick is"."""
    text = wording.format(town=town)
    return f"Day {day}. {text[0].upper()}{text[1:]}"


def questions(days: range, towns: list[str], wordings: tuple = MAYOR, seed: int = 0) -> list:
    """Return [("Day 23. The mayor of Tarnwick is", " Mara"), ...] of all days, towns, wordings."""
    return [
        (question(wording, town, day), f" {mayor(town, day, seed)}")
        for day in days
        for town in towns
        for wording in wordings
    ]


def document(rng, days: range, wordings: tuple = MAYOR, seed: int = 0) -> str:
    """Return what is true on one of these days: the mayors of three towns, and where one lies."""
    day, towns = pick(rng, days), shuffled(rng, common_rules()["place"])
    statements = [f"{pick(rng, wordings).format(town=t)} {mayor(t, day, seed)}" for t in towns[:3]]
    town = towns[3]
    statements.append(f"{pick(rng, SITE).format(town=town)} {sites(seed)[town]}")
    sentences = (f"{text[0].upper()}{text[1:]}." for text in shuffled(rng, statements))
    return f"Day {day}. {' '.join(sentences)}"
