"""What is said of how many things have a colour, and what follows from it, exactly.

A world is how many of some things are of one colour, of a second, and of others; the meaning of a
statement is the set of worlds in which it is true.  One entails another if it is true in no world
in which that is not, and contradicts it if they share no world.  Worlds of up to 13 things are
enough: with numbers up to six, more things tell no two statements apart.

Statements are classical: "every" is true of nothing at all, "some" is at least one, "both" and
"neither" say that there are two, a bare number counts exactly, and a thing has one colour.
"""

import numpy as np

from .language import pick

NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
WORLDS = np.array([w for w in np.ndindex(14, 14, 14) if sum(w) <= 13])  # one colour, second, others

QUANTIFIERS = {  # is it true when k of n have the colour, and how is it said
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


class Statement:
    """`kind` is the quantifier, `number` its word if it has one, `colour` 0 or 1."""

    def __init__(self, *name):
        self.name = self.kind, self.number, self.colour = name
        true, wordings = QUANTIFIERS[self.kind]
        self.wordings = wordings.split(" / ")
        self.worlds = true(WORLDS.sum(1), WORLDS[:, self.colour], NUMBERS.get(self.number))

    def say(self, rng, scene: dict, wordings=None) -> str:
        words = scene | {"m": self.number, "red": scene["colours"][self.colour]}
        return pick(rng, wordings or self.wordings).format_map(words)


def statements(colour: int) -> list:
    return [
        Statement(kind, number, colour)
        for kind, (_, wordings) in QUANTIFIERS.items()
        if "{red}" in wordings or colour == 0
        for number in (NUMBERS if "{m}" in wordings else [""])
    ]


def premises() -> list:
    """One statement, or two that add to each other: the first says how many, or is unnumbered."""
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


PREMISES, HYPOTHESES = premises(), statements(0) + statements(1)


def relation() -> np.ndarray:
    """(premises, hypotheses): 0 if the one entails the other, 2 if it contradicts it, else 1."""
    P = np.array([np.all([s.worlds for s in premise], 0) for premise in PREMISES], np.float32)
    H = np.array([s.worlds for s in HYPOTHESES], np.float32)
    entailed, excluded = P @ (1 - H).T == 0, P @ H.T == 0
    return np.where(entailed, 0, np.where(excluded, 2, 1))


RELATION = relation()
