"""The task `nli`: does a premise entail a hypothesis, contradict it, or neither?

Labels are computed from the meaning of the statements (see `quantifiers`), so the ceiling is 1.
One of the cases: to have never seen an apple that is not red does not entail to have never seen an
apple; the reverse does.

"ood" pairs quantifiers, and things with a place or with who has seen them, that neither the other
splits nor the documents pair.  Every hypothesis is equally likely under each label, and every
premise nearly so: from the words of the premise alone one can guess about 42 % of the labels, from
those of both about 48 %.
"""

from functools import cache, partial

import numpy as np

from ..data.splits import generate_splits
from .domains import an
from .language import pick, shuffled
from .quantifiers import QUANTIFIERS, hypotheses, premises, relation

LABELS = ("entailment", "neutral", "contradiction")
COLOURS = ("red", "green", "yellow", "blue", "white", "black", "brown")
THINGS = "apple cup hat button candle ribbon marble pencil flower kite bead stone".split()
PLACES = ["in the bowl", "in the basket", "in the drawer", "on the table", "on the shelf"]
PLACES += ["on the tray", "under the bed"]
SEERS = ["I have", "Mara has", "Ilse has", "Oda has", "Tomas has", "Edric has", "Jory has"]
KINDS = list(QUANTIFIERS)
CONNECTIVES = (  # before a hypothesis, for each label
    ("so {}", "this means that {}", "it is true that {}"),
    ("perhaps {}, perhaps not", "nobody told us whether {}"),
    ("it is not true that {}", "it cannot be that {}"),
)


def is_ood(premise: tuple, hypothesis) -> bool:
    """Return whether "ood" has this pair, because of the kinds of their quantifiers."""
    coloured = premise[-1:] if premise[0].kind == "count" else premise
    j = KINDS.index(hypothesis.kind)
    return any((KINDS.index(statement.kind) + j) % 4 == 1 for statement in coloured)


def repeats(premise: tuple, hypothesis) -> bool:
    """Return whether the hypothesis could only repeat the words of the premise."""
    return len(hypothesis.wordings) == 1 and hypothesis.name in [s.name for s in premise]


def shares(kinds: list) -> np.ndarray:
    """Return a probability for each item, such that every kind is equally likely."""
    return np.array([1 / kinds.count(kind) for kind in kinds])


@cache
def probabilities(ood: bool) -> np.ndarray:
    """Return (labels, premises, hypotheses): the probability of a pair, given its label.

    Rows and columns are scaled in turn until both are as uniform as possible (Sinkhorn 1967), so
    that a hypothesis alone tells nothing.  A hypothesis that can't have every label is left out.
    """
    allowed = np.array(
        [[is_ood(p, h) == ood and not repeats(p, h) for h in hypotheses()] for p in premises()]
    )
    w = np.array([(relation() == label) & allowed for label in range(3)], float)
    w *= (w.sum(1) > 0).all(0)
    rows = shares([(len(premise), premise[-1].kind) for premise in premises()])[:, None]
    columns = shares([hypothesis.kind for hypothesis in hypotheses()])
    for _ in range(100):
        for axis, target in ((2, rows), (1, columns)):
            total = w.sum(axis, keepdims=True)
            w = np.divide(w * target, total, out=w, where=total > 0)
    return w / w.sum((1, 2), keepdims=True)


def draw_scene(rng, ood: bool) -> dict:
    """Return words for things in a place, or seen by somebody, and for two colours."""
    places = PLACES + SEERS
    while True:
        i, j = (int(rng.random() * len(items)) for items in (THINGS, places))
        if ((i + j) % 4 == 0) == ood:
            break
    thing, place = THINGS[i], places[j]
    if place in SEERS:
        scene = {
            "there": f"{place} seen",
            "none": f"{place} never seen {an(thing)}",
            "thing": f"{thing} that {place} seen",
            "things": f"{thing}s",
            "them": f"the {thing}s that {place} seen",
        }
    else:
        scene = {
            "there": "there are",
            "none": f"there is no {thing} {place}",
            "thing": f"{thing} {place}",
            "things": f"{thing}s {place}",
            "them": f"the {thing}s {place}",
        }
    return scene | {"colours": shuffled(rng, COLOURS)[:2]}


def draw_pair(rng, label: int, ood: bool) -> tuple[int, int]:
    """Return the indices of a premise and a hypothesis with this label."""
    cumulative = np.cumsum(probabilities(ood)[label])
    i = np.searchsorted(cumulative, rng.random() * cumulative[-1], "right")
    return divmod(int(i), len(hypotheses()))


def sentence(text: str) -> str:
    """Return the text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def say_premise(rng, premise: tuple, scene: dict) -> list[str]:
    """Return the statements of a premise in words."""
    first, *rest = premise
    if first.kind == "count":  # then "them" refers to the things it counts
        pronoun = scene | {"them": "them"}
        said = [s.say(rng, pronoun, [w for w in s.wordings if "{them}" in w]) for s in rest]
    else:
        said = [s.say(rng, scene) for s in rest]
    return [first.say(rng, scene), *said]


def example(rng, i: int, ood: bool) -> tuple:
    """Return ((premise, hypothesis), label); the labels take turns."""
    label = i % 3
    p, h = draw_pair(rng, label, ood)
    scene = draw_scene(rng, ood)
    premise = " ".join(map(sentence, say_premise(rng, premises()[p], scene)))
    while (hypothesis := sentence(hypotheses()[h].say(rng, scene))) in premise:
        pass  # draw another wording
    return (premise, hypothesis), LABELS[label]


splits = partial(generate_splits, example)


def document(rng: np.random.Generator) -> str:
    """Return a premise, and whether each of two hypotheses follows, may be true, or can't be."""
    scene = draw_scene(rng, False)
    p, _ = draw_pair(rng, int(rng.random() * 3), False)
    text = [" and ".join(say_premise(rng, premises()[p], scene))]
    for h in shuffled(rng, np.flatnonzero(probabilities(False)[:, p].sum(0)))[:2]:
        hypothesis = hypotheses()[h].say(rng, scene)
        text.append(pick(rng, CONNECTIVES[relation()[p, h]]).format(hypothesis))
    return " ".join(map(sentence, text))
