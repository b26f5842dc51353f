"""Statements about how many things have a colour, and which entails or contradicts which.

A world is how many of some things have one colour, how many a second, and how many another.  The
meaning of a statement is the set of worlds in which it is true: A entails B if B is true in every
world of A, and contradicts B if they have no world in common.  Worlds of up to 13 things are
enough: with numbers up to six, larger worlds distinguish no more statements.

Statements are read as in classical logic: "every" is true of no things at all, "some" is at least
one, "both" and "neither" imply that there are two, a bare number is exact, and a thing has one
colour.
"""

from functools import cache

import numpy as np

from .language import pick

NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}

QUANTIFIERS = {  # kind: (is it true if k of n have the colour, its wordings)
    "empty": (lambda n, k, m: n == 0, "{none}"),
    "count": (lambda n, k, m: n == m, "{there} {m} {things}"),
    "many": (lambda n, k, m: n >= m, "{there} at least {m} {things}"),
    "all": (
        lambda n, k, m: k == n,
        "every {thing} is {red} / all of {them} are {red} / {none} that is not {red}",
    ),
    "no": (
        lambda n, k, m: k == 0,
        "no {thing} is {red} / none of {them} is {red} / {none} that is {red}",
    ),
    "some": (lambda n, k, m: k > 0, "some of {them} are {red} / at least one {thing} is {red}"),
    "not all": (
        lambda n, k, m: k < n,
        "not every {thing} is {red} / not all of {them} are {red}",
    ),
    "most": (
        lambda n, k, m: 2 * k > n,
        "most of {them} are {red} / more than half of {them} are {red}",
    ),
    "half": (lambda n, k, m: (2 * k == n) & (n > 0), "exactly half of {them} are {red}"),
    "few": (lambda n, k, m: 2 * k < n, "fewer than half of {them} are {red}"),
    "both": (lambda n, k, m: (n == 2) & (k == 2), "both of {them} are {red}"),
    "neither": (lambda n, k, m: (n == 2) & (k == 0), "neither of {them} is {red}"),
    "exactly": (
        lambda n, k, m: k == m,
        "{m} of {them} are {red} / exactly {m} of {them} are {red}",
    ),
    "at least": (lambda n, k, m: k >= m, "at least {m} of {them} are {red}"),
    "at most": (lambda n, k, m: k <= m, "at most {m} of {them} are {red}"),
}


@cache
def worlds() -> np.ndarray:
    """Return all worlds (N, 3): the counts of one colour, of a second, of others."""
    return np.array([counts for counts in np.ndindex(14, 14, 14) if sum(counts) <= 13])


class Statement:
    """A statement: the `kind` of quantifier, its `number` in words or "", its `colour`, 0 or 1.

    `worlds` marks the worlds in which it is true.
    """

    def __init__(self, kind: str, number: str, colour: int):
        self.name = self.kind, self.number, self.colour = kind, number, colour
        true, wordings = QUANTIFIERS[kind]
        self.wordings = wordings.split(" / ")
        self.worlds = true(worlds().sum(1), worlds()[:, colour], NUMBERS.get(number))

    def say(self, rng, scene: dict, wordings=None) -> str:
        """Return a random wording, with the words of a scene."""
        words = scene | {"m": self.number, "red": scene["colours"][self.colour]}
        return pick(rng, wordings or self.wordings).format_map(words)


def statements(colour: int) -> list[Statement]:
    """Return all statements about a colour; those about none belong to colour 0."""
    return [
        Statement(kind, number, colour)
        for kind, (_, wordings) in QUANTIFIERS.items()
        if "{red}" in wordings or colour == 0
        for number in (NUMBERS if "{m}" in wordings else [""])
    ]


@cache
def hypotheses() -> list[Statement]:
    """Return all statements that may be a hypothesis."""
    return statements(0) + statements(1)


@cache
def premises() -> list[tuple]:
    """Return all premises: one statement, or two of which neither entails or excludes the other.

    The first of two counts the things, or has no number.
    """
    single = statements(0)
    coloured = [one for one in single if "{red}" in one.wordings[0]]
    firsts = [one for one in single if one.kind == "count" or one in coloured and not one.number]
    pairs = [
        (one, two)
        for one in firsts
        for two in coloured
        if one.kind == "count" or not two.number
        if 0 < sum(one.worlds & two.worlds) < min(sum(one.worlds), sum(two.worlds))
    ]
    return [(one,) for one in single] + pairs


@cache
def relation() -> np.ndarray:
    """Return (premises, hypotheses): 0 for entailment, 1 for neutral, 2 for contradiction."""
    P = np.array([np.all([s.worlds for s in premise], 0) for premise in premises()], np.float32)
    H = np.array([s.worlds for s in hypotheses()], np.float32)
    entailed, excluded = P @ (1 - H).T == 0, P @ H.T == 0
    return np.where(entailed, 0, np.where(excluded, 2, 1))
