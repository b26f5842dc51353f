"""The task `style`: how would this user continue?  One hundred users with tastes and phrases.

Each user likes tea sweet or bitter, streets loud or quiet, and so on; and has one phrase to praise,
one to complain, and a favourite adverb.  Given the beginning of a note ("The soup was not hot,
and"), the continuation is a function of the user, so the ceiling is 1.  The beginning does not tell
the user: without knowing who it is one is right about one time in six (`most_common_answer`).
Example i of every split is of user i % 100.

"ood" notes are about things of which the user has written nothing in "train"; the taste is the
same.  The documents are letters of other writers, so a base knows the phrases and none of the
users.
"""

import re
from collections import Counter
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from ..data.splits import generate_splits
from .language import MEN, WOMEN, common_rules, pick, shuffled

USERS = 100
TASTES = {  # one word or the other is to a user's taste, for all of these things
    ("sweet", "bitter"): "tea coffee sauce cake wine juice".split(),
    ("hot", "cold"): "soup bath room milk porridge cider".split(),
    ("loud", "quiet"): "street party band dance radio square".split(),
    ("old", "new"): "chair house song coat bridge clock".split(),
    ("thick", "thin"): "blanket steak book curtain rope scarf".split(),
    ("crowded", "empty"): "market train beach museum tavern park".split(),
    ("long", "short"): "film walk letter speech story trip".split(),
    ("big", "small"): "plate bag garden boat kitchen window".split(),
}
DENIALS = ("not", "far from", "anything but")
NAMES = WOMEN + MEN
VERY = ("very", "really", "truly", "rather")
PRAISE = (  # here and below, earlier phrases are more frequent
    "that is just how it should be",
    "I was {very} glad of it",
    "I like it {wish}",
    "that is {very} good",
    "it made my day",
)
COMPLAINTS = (
    "that is a pity",
    "I was {very} sorry about it",
    "I wanted it {wish}",
    "that is {very} bad",
    "it spoiled my day",
)
NOTES = ("{fact}", "{time} {fact}", "{name} thought that {fact}", "{name} and I agreed that {fact}")
GREETINGS = ("Hello {name}!", "Dear {name}!", "Good morning {name}!", "My dear {name}!")
FAREWELLS = ("Yours, {name}.", "With love, {name}.", "Till soon, {name}.", "Your friend {name}.")


class User(NamedTuple):
    """A user's tastes and phrases."""

    likes: tuple  # of each pair of TASTES, the word they like
    praise: str
    complaint: str
    very: str
    unseen: set  # things that they write of in "ood" only


@cache
def opposites() -> dict[str, str]:
    """Return the opposite of each word of TASTES."""
    return {a: b for pair in TASTES for a, b in (pair, pair[::-1])}


def draw_user(rng) -> User:
    """Return a random user."""

    def phrase(phrases):
        return pick(rng, phrases[: pick(rng, (2, 3, 4, 5, 5, 5))])

    likes = tuple(pick(rng, pair) for pair in TASTES)
    unseen = {thing for things in TASTES.values() for thing in shuffled(rng, things)[:2]}
    return User(likes, phrase(PRAISE), phrase(COMPLAINTS), phrase(VERY), unseen)


@cache
def users() -> list[User]:
    """Return the hundred users, no two of whom have the same tastes and phrases."""
    rng, distinct = np.random.default_rng(0), {}
    while len(distinct) < USERS:
        user = draw_user(rng)
        distinct[user[:-1]] = user
    return [*distinct.values()]


def beginning(rng, pair: tuple, things: list, names=NAMES) -> str:
    """Return the beginning of a note: "On Monday the soup was far from hot, and"."""
    quality, thing = pick(rng, pair), pick(rng, things)
    if rng.random() < 0.5:
        quality = f"{pick(rng, DENIALS)} {quality}"
    note, name, time = pick(rng, NOTES), pick(rng, names), pick(rng, common_rules()["time"])
    text = note.format(fact=f"the {thing} was {quality}", name=name, time=time)
    return f"{text[0].upper()}{text[1:]}, and"


def answer(user: User, text: str) -> str:
    """Return how a user continues: with praise of what they like, or a complaint."""
    quality = next(word for word in re.findall("[a-z]+", text) if word in opposites())
    if any(f" {denial} " in text for denial in DENIALS):
        quality = opposites()[quality]
    liked = quality in user.likes
    wish = quality if liked else opposites()[quality]
    return f" {(user.praise if liked else user.complaint).format(very=user.very, wish=wish)}."


def most_common_answer(text: str) -> str:
    """Return how most users continue: the best answer without knowing the user."""
    return Counter(answer(user, text) for user in users()).most_common(1)[0][0]


def example(rng, i: int, ood: bool) -> tuple:
    """Return (beginning, [continuation]); users and tastes take turns."""
    turn, i = divmod(i, USERS)
    user, pair = users()[i], list(TASTES)[(turn + i) % len(TASTES)]
    text = beginning(rng, pair, [thing for thing in TASTES[pair] if (thing in user.unseen) == ood])
    return text, [answer(user, text)]


splits = partial(generate_splits, example, dev=200, test=300)


def document(rng: np.random.Generator) -> str:
    """Return a letter with three notes, by a writer who is none of the hundred users."""
    writer, (to, by, *others) = draw_user(rng), shuffled(rng, NAMES)
    greeting, farewell = (pick(rng, phrases) for phrases in (GREETINGS, FAREWELLS))
    notes = (beginning(rng, pair, TASTES[pair], others) for pair in shuffled(rng, list(TASTES))[:3])
    text = " ".join(note + answer(writer, note) for note in notes)
    return f"{greeting.format(name=to)} {text} {farewell.format(name=by)}"
