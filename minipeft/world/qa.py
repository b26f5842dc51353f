"""The task `qa`: answer a question about one of two things that a text describes.

Text and question are one text, and the answer is a span of it, as in SQuAD.  Both things are of one
category, and the text says of both what the question asks of one: a model that ignores its name is
right half of the time.  The questions of train, dev and test are about restaurants, shops, hotels,
theatres and gadgets, those of "ood" about museums, parks and films: whole domains are held out, as
in MRQA, and with them some fields (see `table`).
"""

from collections.abc import Callable
from functools import cache, partial

from ..data.splits import generate_splits
from ..data.text_metrics import exact_match, normalize_answer, squad_f1
from .domains import read_rules
from .language import pick
from .table import categories, describe, draw_record

METRICS: dict[str, Callable] = {
    "F1": squad_f1,
    "exact match": partial(exact_match, normalize=normalize_answer),
}
SHARED = """
kind: what is {}, of what kind is {}
near: what is {} near, what is {} close to
rating: how is {} rated, what do most people think of {}
serves: what does {} serve, what is {} known for
seats: how many guests does {} seat, for how many guests is there room at {}
sells: what does {} sell, what is {} the place for
opens: when does {} open, when are the doors of {} opened
offers: what does {} offer, what is {} liked for
rooms: how many rooms does {} have, how many rooms can {} let
plays: what does {} play, what is {} famous for
colour: in which colour does {} come, how is {} painted
weight: how much does {} weigh, what is the weight of {}
shows: what does {} show, what is {} the home of
grows: what grows in {}, what is {} full of
about: what is {} about, what does {} tell of
lasts: how long does {} last, how long does {} run
"""
QUESTIONS = {  # by the preposition of a category
    "in": """
place: in which town is {}, what town is {} in
price: how much does {} charge, how much does one pay at {}
""",
    "from": """
place: from which town is {}, where does {} come from
price: how much does {} cost, how much does one pay for {}
""",
}


@cache
def questions(preposition: str) -> dict[str, tuple]:
    """Return the wordings of the questions about each field."""
    return read_rules(SHARED + QUESTIONS[preposition].lstrip())


def example(rng, i: int, ood: bool) -> tuple:
    """Return (two descriptions and a question, [answer])."""
    category = pick(rng, categories(ood))
    field = pick(rng, ["kind", "place", *category.phrases])
    while True:
        one, other = (draw_record(rng, [category]) for _ in range(2))
        known = field in one and field in other
        if known and one["name"] != other["name"] and one[field] != other[field]:
            break
    text = " ".join(describe(rng, record) for record in (one, other))
    asked = pick(rng, (one, other))
    question = pick(rng, questions(category.preposition)[field]).format(asked["name"])
    return f"{text} {question[0].upper()}{question[1:]}?", [f" {asked[field]}"]


splits = partial(generate_splits, example, dev=200, test=300)
