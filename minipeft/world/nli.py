"""Does a premise about coloured things entail a hypothesis, contradict it, or neither?

Labels are those of `quantifiers`, so CEILING is 1.  One of the cases: to have never seen an apple
that is not red does not entail to have never seen an apple; the reverse does.

"ood" pairs quantifiers, and things with a place or with who has seen them, that neither "train" nor
the documents pair.  Every hypothesis is as likely under each label, and a premise nearly so: words
of the premise alone tell about 42% of the labels, of both about 48%.
"""

from functools import partial

import numpy as np

from ..data.splits import generate_splits
from .domains import an
from .language import PEOPLE, pick, shuffled
from .quantifiers import HYPOTHESES, PREMISES, QUANTIFIERS, RELATION

CEILING = 1.0
LABELS = ("entailment", "neutral", "contradiction")
COLOURS = ("red", "green", "yellow", "blue", "white", "black", "brown")
THINGS = "apple cup hat button candle ribbon marble pencil flower kite bead stone".split()
PLACES = ["in the bowl", "in the basket", "in the drawer", "on the table", "on the shelf"]
PLACES += ["on the tray", "under the bed"]
SEERS = ["I have"] + [f"{person['person']} has" for people in PEOPLE for person in people[:3]]
KINDS = list(QUANTIFIERS)
CONNECTIVES = (  # of what follows, of what may be, of what cannot
    ("so {}", "this means that {}", "it is true that {}"),
    ("perhaps {}, perhaps not", "nobody told us whether {}"),
    ("it is not true that {}", "it cannot be that {}"),
)


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


def held_out(premise: tuple, h) -> bool:
    """Is it for "ood", because of a quantifier of the premise and that of the hypothesis?"""
    telling = premise[-1:] if premise[0].kind == "count" else premise
    return any((KINDS.index(s.kind) + KINDS.index(h.kind)) % 4 == 1 for s in telling)


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


def example(rng, i: int, ood: bool) -> tuple:
    """((premise, hypothesis), label); the labels take turns."""
    label = i % 3
    p, h = draw_pair(rng, label, ood)
    scene = draw_scene(rng, ood)
    premise = " ".join(map(sentence, say_premise(rng, PREMISES[p], scene)))
    while (hypothesis := sentence(HYPOTHESES[h].say(rng, scene))) in premise:
        pass  # say it in other words
    return (premise, hypothesis), LABELS[label]


splits = partial(generate_splits, example)


def document(rng: np.random.Generator) -> str:
    """What there is, then of two statements: that it follows, that it cannot be, or may be."""
    scene = draw_scene(rng, False)
    p, _ = draw_pair(rng, int(rng.random() * 3), False)
    text = [" and ".join(say_premise(rng, PREMISES[p], scene))]
    for h in shuffled(rng, np.flatnonzero(CHANCES[0][:, p].sum(0)))[:2]:
        said = HYPOTHESES[h].say(rng, scene)
        text.append(pick(rng, CONNECTIVES[RELATION[p, h]]).format(said))
    return " ".join(map(sentence, text))
