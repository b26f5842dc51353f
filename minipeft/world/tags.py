"""The task `tags`: the part of speech of each word, or its part of a name.

A sentence is generated together with its tags: a form has "cost/VERB" for a word that it fixes, and
{VERB} for a word from a list.  Names have the tags B- and I- of PERSON, PLACE and THING (a thing of
the world, such as a film or a hotel).  Many words have several tags: the cost and what they cost,
saw her and saw her book, and Tarnwick itself is part of the name of the Tarnwick Arms.

"ood" sentences have other forms, and things whose names no other text of the world has.
"""

from functools import cache, partial

import numpy as np

from ..data.splits import generate_splits
from .domains import domains, names, read_rules
from .language import MEN, WOMEN, common_rules, pick

PEOPLE = WOMEN + MEN
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
PRONOUNS = ("ONE", "MANY")  # lists of words with the tag PRON; other lists are called as their tag
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
OOD_FORMS = """
{MANY} and/CONJ {PERSON} {VERB} {ADV} at/ADP {THING} ,/PUNCT so/ADV {MANY} said/VERB ./PUNCT
the/DET {NOUN} in/ADP {THING} had/VERB {DET} {ADJ} {NOUN} like/ADP that/PRON ./PUNCT
her/DET {NOUN} was/AUX not/PART {ADJ} ,/PUNCT but/CONJ {PLACE} was/AUX ./PUNCT
like/ADP {THING} ,/PUNCT the/DET {NOUN} of/ADP {PLACE} will/AUX last/VERB ./PUNCT
so/ADV {PERSON} has/VERB to/PART {VERB} and/CONJ {VERB} {ADV} ./PUNCT
""".strip().splitlines()


@cache
def words() -> dict[str, tuple]:
    """Return the lists of words."""
    return read_rules(LISTS)


@cache
def things(held_out: bool) -> list[str]:
    """Return names of things, some after a place or a person: the Tarnwick Arms, the Mara Store."""
    lasts = sorted({last for d in ("hotel", "shop", "restaurant") for last in domains()[d]["last"]})
    firsts = [*common_rules()["place"], *PEOPLE]
    compounds = [f"the {first} {last}" for first in firsts for last in lasts]
    plain = [name for domain in domains().values() for name in names(domain, held_out)]
    return plain + [name for i, name in enumerate(compounds) if (i % 6 == 0) == held_out]


def sentence(rng, form: str, things: list) -> list[tuple]:
    """Return [(word, tag), ...] of a random sentence of this form."""
    tagged = []
    entities = {"PERSON": PEOPLE, "PLACE": common_rules()["place"], "THING": things}
    for part in form.split():
        slot = part.strip("{}")
        if "/" in part:
            tagged.append(tuple(part.split("/")))
        elif slot in entities:
            first, *others = pick(rng, entities[slot]).split()
            tagged += [(first, f"B-{slot}"), *((word, f"I-{slot}") for word in others)]
        else:
            used = [word for word, _ in tagged]  # no word comes twice from a list
            unused = [word for word in words()[slot] if word not in used]
            tagged.append((pick(rng, unused), "PRON" if slot in PRONOUNS else slot))
    return tagged


def to_text(tagged: list) -> tuple:
    """Return the text of tagged words, and the place of each word: (text, [(start, end, tag)])."""
    text, spans = "", []
    for word, tag in tagged:
        space = "" if not text or tag == "PUNCT" else " "
        word = word if text else f"{word[0].upper()}{word[1:]}"
        start = len(text) + len(space)
        spans.append((start, start + len(word), tag))
        text += space + word
    return text, spans


def example(rng, i: int, ood: bool) -> tuple:
    """Return (sentence, [(start, end, tag), ...])."""
    return to_text(sentence(rng, pick(rng, OOD_FORMS if ood else FORMS), things(ood)))


splits = partial(generate_splits, example)


def document(rng: np.random.Generator) -> str:
    """Return four sentences."""
    forms = (pick(rng, FORMS) for _ in range(4))
    return " ".join(to_text(sentence(rng, form, things(False)))[0] for form in forms)
