"""Does what is said of some coloured things entail a second statement, contradict it, or neither?

A world is how many of the things are of one colour, of a second, and of others; a statement is the
set of worlds in which it is true.  The label is read off these sets, over all worlds of at most 13
things, which is enough for numbers up to six.  A statement is classical: "every" is true of nothing
at all, "some" is at least one, a bare number counts exactly, a thing has one colour.  So to have
never seen an apple that is not red does not entail to have never seen one; the reverse does.

"ood" pairs quantifiers, and things with places or people, that neither "train" nor the documents
pair.  Every hypothesis, as every premise, is equally likely under each label: neither alone tells.
"""

import numpy as np

from .language import PEOPLE, an, pick, shuffled

CEILING = 1.0
LABELS = ("entailment", "neutral", "contradiction")
COLOURS = ("red", "green", "yellow", "blue", "white", "black", "brown")
THINGS = "apple cup hat button candle ribbon marble pencil flower kite bead stone".split()
PLACES = (
    "in the bowl, in the basket, on the table, on the shelf, in the drawer, on the tray, under the bed"
).split(", ")
SEERS = ["I have"] + [f"{person['person']} has" for people in PEOPLE for person in people[:3]]
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
KINDS = list(QUANTIFIERS)
CONNECTIVES = (  # of what follows, of what may be, of what cannot
    ("so {}", "this means that {}", "it is true that {}"),
    ("perhaps {}, perhaps not", "nobody told us whether {}"),
    ("it is not true that {}", "it cannot be that {}"),
)


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
    """(premises, hypotheses): the index of the label, by the worlds in which both are true."""
    P = np.array([np.all([s.worlds for s in premise], 0) for premise in PREMISES], np.float32)
    H = np.array([s.worlds for s in HYPOTHESES], np.float32)
    entailed, excluded = P @ (1 - H).T == 0, P @ H.T == 0
    return np.where(entailed, 0, np.where(excluded, 2, 1))


def share(kinds: list) -> np.ndarray:
    """Of each, such that every kind has the same in all."""
    return np.array([1 / kinds.count(kind) for kind in kinds])


def chances(allowed: np.ndarray) -> np.ndarray:
    """(labels, premises, hypotheses): of each pair, such that a hypothesis alone tells nothing.

    Rows and columns are scaled in turn until both are as even as can be (Sinkhorn 1967); a
    hypothesis that cannot have every label is left out.
    """
    w = np.array([(RELATION == label) & allowed for label in range(3)], float)
    w *= (w.sum(1) > 0).all(0)
    rows = share([(len(premise), premise[-1].kind) for premise in PREMISES])[:, None]
    columns = share([h.kind for h in HYPOTHESES])
    for _ in range(100):
        for axis, wanted in ((2, rows), (1, columns)):
            total = w.sum(axis, keepdims=True)
            w = np.divide(w * wanted, total, out=w, where=total > 0)
    return w / w.sum((1, 2), keepdims=True)


def held_out(premise: tuple, h: Statement) -> bool:
    """Is it for "ood", because of a quantifier of the premise and that of the hypothesis?"""
    telling = premise[-1:] if premise[0].kind == "count" else premise
    return any((KINDS.index(s.kind) + KINDS.index(h.kind)) % 4 == 1 for s in telling)


RELATION = relation()
HELD_OUT = np.array([[held_out(p, h) for h in HYPOTHESES] for p in PREMISES])
REPEATS = np.array(
    [[len(h.wordings) == 1 and h.name in [s.name for s in p] for h in HYPOTHESES] for p in PREMISES]
)
CHANCES = [chances(~HELD_OUT & ~REPEATS), chances(HELD_OUT & ~REPEATS)]


def draw_scene(rng, out: bool) -> dict:
    """Things somewhere, or seen by somebody, and two colours: the words for them."""
    while True:
        i, j = (int(rng.random() * len(items)) for items in (THINGS, PLACES + SEERS))
        if ((i + j) % 4 == 0) == out:
            break
    thing, where = THINGS[i], (PLACES + SEERS)[j]
    there, none, that = "there are", f"there is no {thing} {where}", where
    if where in SEERS:
        there, none, that = f"{where} seen", f"{where} never seen {an(thing)}", f"that {where} seen"
    return {
        "there": there,
        "none": none,
        "thing": f"{thing} {that}",
        "things": f"{thing}s" if where in SEERS else f"{thing}s {where}",
        "them": f"the {thing}s {that}",
        "colours": shuffled(rng, COLOURS)[:2],
    }


def draw_pair(rng, label: int, out: bool) -> tuple:
    flat = np.cumsum(CHANCES[out][label])
    return divmod(int(np.searchsorted(flat, rng.random() * flat[-1], "right")), len(HYPOTHESES))


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def say_premise(rng, premise: tuple, scene: dict) -> list:
    first, *rest = premise
    if first.kind == "count":  # and then "them" are those
        brief = scene | {"them": "them"}
        said = [s.say(rng, brief, [w for w in s.wordings if "{them}" in w]) for s in rest]
    else:
        said = [s.say(rng, scene) for s in rest]
    return [first.say(rng, scene), *said]


def examples(rng, count: int, out: bool, seen: set) -> list:
    """`count` new ((premise, hypothesis), label); the labels take turns."""
    found = []
    while len(found) < count:
        label = len(found) % 3
        p, h = draw_pair(rng, label, out)
        scene = draw_scene(rng, out)
        premise = " ".join(map(sentence, say_premise(rng, PREMISES[p], scene)))
        while (hypothesis := sentence(HYPOTHESES[h].say(rng, scene))) in premise:
            pass  # say it in other words
        if (premise, hypothesis) not in seen:
            seen.add((premise, hypothesis))
            found.append(((premise, hypothesis), LABELS[label]))
    return found


def splits(seed: int = 0) -> dict:
    rng, seen = np.random.default_rng(seed), set()
    return {
        "test": examples(rng, 1000, False, seen),
        "ood": examples(rng, 1000, True, seen),
        "dev": examples(rng, 500, False, seen),
        "train": examples(rng, 2000, False, seen),
    }


def document(rng: np.random.Generator) -> str:
    """What there is, then of two statements: that it follows, that it cannot be, or may be."""
    scene = draw_scene(rng, False)
    p, _ = draw_pair(rng, int(rng.random() * 3), False)
    text = [" and ".join(say_premise(rng, PREMISES[p], scene))]
    for h in shuffled(rng, np.flatnonzero(CHANCES[0][:, p].sum(0)))[:2]:
        said = HYPOTHESES[h].say(rng, scene)
        text.append(pick(rng, CONNECTIVES[RELATION[p, h]]).format(said))
    return " ".join(map(sentence, text))
