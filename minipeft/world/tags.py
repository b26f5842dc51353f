"""What is each word: its part of speech, or its part of a name?

A sentence is written with the tag behind every word that it fixes, "cost/VERB", and every list of
words has one tag, so the tags are exact.  Names have B- and I- tags: PERSON, PLACE and THING, which
is what a thing of the world is called.  One word is many things: the cost and what they cost, saw
her and saw her book, and Tarnwick itself is in the name of the Tarnwick Arms.
"ood" sentences are of other forms, about things whose names no other text of the world has.
"""

from functools import partial

import numpy as np

from ..data.splits import generate_splits
from .domains import DOMAINS, names, read_rules
from .language import PEOPLE, RULES, pick

PERSON = [person["person"] for people in PEOPLE for person in people]
LISTS = """
NOUN: cook, queue, ticket, room, radio, play, book, light, sound, rest, walk, watch, dress, drink
ADJ: light, sound, cold, warm, open, long, short, clean, dry, thin, rich, wise
VERB: cook, queue, rest, walk, watch, drink, dress, play, open, visit
ADV: soon, often, once, twice, seldom, early, late, there, again
NUM: three, five, six, eight, nine, eleven, twelve, fifteen, twenty, thirty, forty
DET: the, every, this, that, no, some
ONE: she, he
MANY: we, they
"""
WORDS = read_rules(LISTS)
TAG = {"ONE": "PRON", "MANY": "PRON"}  # of the other lists the tag is the name
FORMS = """
{PERSON} and/CONJ {PERSON} went/VERB to/ADP {THING} in/ADP {PLACE} ./PUNCT
in/ADP {PLACE} {DET} {NOUN} was/AUX {ADJ} and/CONJ {DET} {NOUN} was/AUX {ADJ} ./PUNCT
{PERSON} likes/VERB to/PART {VERB} {ADV} in/ADP {THING} ./PUNCT
{DET} {ADJ} {NOUN} of/ADP {PERSON} cost/VERB {NUM} crowns/NOUN ,/PUNCT {ONE} said/VERB ./PUNCT
the/DET cost/NOUN was/AUX {NUM} crowns/NOUN for/ADP {DET} {NOUN} in/ADP {PLACE} ./PUNCT
{ONE} will/AUX {VERB} {ADV} ,/PUNCT said/VERB {PERSON} to/ADP {PERSON} ./PUNCT
that/DET {NOUN} is/AUX so/ADV {ADJ} that/CONJ {ONE} can/AUX {VERB} {ADV} ./PUNCT
{PERSON} saw/VERB her/PRON in/ADP {PLACE} with/ADP her/DET {ADJ} {NOUN} ./PUNCT
{THING} is/AUX in/ADP {PLACE} ,/PUNCT not/PART in/ADP {PLACE} ./PUNCT
to/PART {VERB} like/ADP {PERSON} is/AUX {ADJ} ,/PUNCT but/CONJ {MANY} like/VERB it/PRON ./PUNCT
last/ADJ week/NOUN {ONE} had/VERB {NUM} {ADJ} drinks/NOUN at/ADP {THING} ./PUNCT
{ONE} drinks/VERB {ADV} at/ADP the/DET {NOUN} near/ADP {THING} ./PUNCT
{PLACE} has/VERB {NUM} inns/NOUN and/CONJ {THING} is/AUX the/DET {ADJ} one/PRON ./PUNCT
one/NUM {NOUN} will/AUX last/VERB {NUM} days/NOUN ,/PUNCT said/VERB {PERSON} ./PUNCT
""".strip().splitlines()
OTHER_FORMS = """
{MANY} and/CONJ {PERSON} {VERB} {ADV} at/ADP {THING} ,/PUNCT so/ADV {MANY} said/VERB ./PUNCT
the/DET {NOUN} in/ADP {THING} had/VERB {DET} {ADJ} {NOUN} like/ADP that/PRON ./PUNCT
her/DET {NOUN} was/AUX not/PART {ADJ} ,/PUNCT but/CONJ {PLACE} was/AUX ./PUNCT
like/ADP {THING} ,/PUNCT the/DET {NOUN} of/ADP {PLACE} will/AUX last/VERB ./PUNCT
so/ADV {PERSON} has/VERB to/PART {VERB} and/CONJ {VERB} {ADV} ./PUNCT
""".strip().splitlines()


def things(held: bool) -> list:
    """Names, some of them after a place or a person: the Tarnwick Arms, the Mara Store."""
    lasts = sorted({last for d in ("hotel", "shop", "restaurant") for last in DOMAINS[d]["last"]})
    after = [f"the {one} {last}" for one in [*RULES["place"], *PERSON] for last in lasts]
    own = [name for domain in DOMAINS.values() for name in names(domain, held)]
    return own + [name for i, name in enumerate(after) if (i % 6 == 0) == held]


NAMES, HELD_OUT = things(held=False), things(held=True)
NAMED = {"PERSON": PERSON, "PLACE": list(RULES["place"])}


def sentence(rng, form: str, thing: list) -> list:
    """[(word, tag), ...]"""
    found, named = [], NAMED | {"THING": thing}
    for hole in form.split():
        tag = hole.strip("{}")
        if "/" in hole:
            found.append(tuple(hole.split("/")))
        elif tag in named:
            first, *more = pick(rng, named[tag]).split()
            found += [(first, f"B-{tag}"), *((word, f"I-{tag}") for word in more)]
        else:
            told = [word for word, _ in found]  # no "light light", and none plays and plays
            free = [word for word in WORDS[tag] if word not in told]
            found.append((pick(rng, free), TAG.get(tag, tag)))
    return found


def written(pairs: list) -> tuple:
    """The text, and where each word stands in it: (text, [(start, end, tag), ...])."""
    text, spans = "", []
    for word, tag in pairs:
        space = "" if not text or tag == "PUNCT" else " "
        word = word if text else f"{word[0].upper()}{word[1:]}"
        spans.append((len(text) + len(space), len(text) + len(space) + len(word), tag))
        text += space + word
    return text, spans


def example(rng, i: int, ood: bool) -> tuple:
    """(sentence, its tags)"""
    forms, thing = (OTHER_FORMS, HELD_OUT) if ood else (FORMS, NAMES)
    return written(sentence(rng, pick(rng, forms), thing))


splits = partial(generate_splits, example)


def document(rng: np.random.Generator) -> str:
    """A few such sentences."""
    forms = (pick(rng, FORMS) for _ in range(4))
    return " ".join(written(sentence(rng, form, NAMES))[0] for form in forms)
