"""What would this writer say next?  One hundred people, each with tastes and words of their own.

Each likes tea sweet or bitter, streets loud or quiet, and so on; has one way to praise, one to
complain, and a favourite word to strengthen it.  Given the beginning of a note ("The soup was not
hot, and") what follows is certain for whoever knows the writer: CEILING is 1.  Who does not, can at
best say what most of the hundred would (`blind`): right about one time in six.  The beginning does
not tell who wrote it; example i of every split is of user i % 100.

"ood" notes are about things of which that user has written nothing in "train"; what follows is in
the same taste.  The documents are notes of others, so a base knows the words and nobody of these.
"""

import re
from collections import Counter
from functools import partial
from typing import NamedTuple

import numpy as np

from ..data.splits import generate_splits
from .language import PEOPLE, RULES, pick, shuffled

CEILING = 1.0
USERS = 100
TASTES = {  # one or the other, of these things
    ("sweet", "bitter"): "tea coffee sauce cake wine juice".split(),
    ("hot", "cold"): "soup bath room milk porridge cider".split(),
    ("loud", "quiet"): "street party band dance radio square".split(),
    ("old", "new"): "chair house song coat bridge clock".split(),
    ("thick", "thin"): "blanket steak book curtain rope scarf".split(),
    ("crowded", "empty"): "market train beach museum tavern park".split(),
    ("long", "short"): "film walk letter speech story trip".split(),
    ("big", "small"): "plate bag garden boat kitchen window".split(),
}
OPPOSITES = {a: b for pair in TASTES for a, b in (pair, pair[::-1])}
DENIALS = ("not", "far from", "anything but")
NAMES = [person["person"] for people in PEOPLE for person in people]
VERY = ("very", "really", "truly", "rather")
PRAISE = (  # the first is the most common, here and below
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
    wishes: tuple  # of each pair of TASTES, the word they like
    praise: str
    complaint: str
    very: str
    unseen: set  # things they write of in "ood" only


def draw_user(rng) -> User:
    def common(ways):
        return pick(rng, ways[: pick(rng, (2, 3, 4, 5, 5, 5))])

    wishes = tuple(pick(rng, pair) for pair in TASTES)
    unseen = {thing for things in TASTES.values() for thing in shuffled(rng, things)[:2]}
    return User(wishes, common(PRAISE), common(COMPLAINTS), common(VERY), unseen)


def draw_users(rng) -> list:
    """No two alike."""
    users = {}
    while len(users) < USERS:
        *ways, unseen = draw_user(rng)
        users[tuple(ways)] = User(*ways, unseen)
    return [*users.values()]


THE_USERS = draw_users(np.random.default_rng(0))


def beginning(rng, pair: tuple, things: list, names: list = NAMES) -> str:
    """'On Monday the soup was far from hot, and'"""
    quality, thing = pick(rng, pair), pick(rng, things)
    if rng.random() < 0.5:
        quality = f"{pick(rng, DENIALS)} {quality}"
    way, name, time = pick(rng, NOTES), pick(rng, names), pick(rng, RULES["time"])
    text = way.format(fact=f"the {thing} was {quality}", name=name, time=time)
    return f"{text[0].upper()}{text[1:]}, and"


def answer(user: User, given: str) -> str:
    """How this user goes on: praise for what is to their taste, a complaint about the opposite."""
    quality = next(word for word in re.findall("[a-z]+", given) if word in OPPOSITES)
    if any(f" {denial} " in given for denial in DENIALS):
        quality = OPPOSITES[quality]
    liked = quality in user.wishes
    wish = quality if liked else OPPOSITES[quality]
    return f" {(user.praise if liked else user.complaint).format(very=user.very, wish=wish)}."


def blind(given: str) -> str:
    """The best answer for who does not know which user wrote it: that of most users."""
    return Counter(answer(user, given) for user in THE_USERS).most_common(1)[0][0]


def example(rng, i: int, ood: bool) -> tuple:
    """(beginning, [what follows]), of users and of tastes in turn."""
    turn, i = divmod(i, USERS)
    user, pair = THE_USERS[i], list(TASTES)[(turn + i) % len(TASTES)]
    given = beginning(rng, pair, [t for t in TASTES[pair] if (t in user.unseen) == ood])
    return given, [answer(user, given)]


splits = partial(generate_splits, example, dev=200, test=300)


def document(rng: np.random.Generator) -> str:
    """A letter with three notes, by a writer who is none of the hundred."""
    writer, (to, by, *others) = draw_user(rng), shuffled(rng, NAMES)
    hello, farewell = (pick(rng, ways) for ways in (GREETINGS, FAREWELLS))
    notes = (beginning(rng, pair, TASTES[pair], others) for pair in shuffled(rng, list(TASTES))[:3])
    text = " ".join(note + answer(writer, note) for note in notes)
    return f"{hello.format(name=to)} {text} {farewell.format(name=by)}"
