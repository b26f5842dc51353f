"""What would this writer say next?  One hundred people, each with tastes and words of their own.

Each likes tea sweet or bitter, streets loud or quiet, and so on; has one way to praise, one to
complain, and a favourite word to strengthen it.  Given the beginning of a note ("The soup was not
hot, and") what follows is certain for whoever knows the writer: CEILING is 1.  Who does not, can at
best say what most of the hundred would (`blind`).  The beginning does not tell who wrote it:
example i of every split is of user i % 100.

"ood" notes are about things of which that user has written nothing in "train"; what follows is in
the same taste.  The documents are notes of others, so a base knows the words and nobody of these.
"""

from collections import Counter

import numpy as np

from .language import PEOPLE, pick, shuffled

CEILING = 1.0
USERS = 100
TASTES = {  # one or the other; of which things
    ("sweet", "bitter"): "tea coffee sauce cake wine juice".split(),
    ("hot", "cold"): "soup bath room milk porridge cider".split(),
    ("loud", "quiet"): "street party band dance radio square".split(),
    ("old", "new"): "chair house song coat bridge clock".split(),
    ("thick", "thin"): "blanket steak book curtain slice scarf".split(),
    ("crowded", "empty"): "market train beach museum tavern park".split(),
    ("long", "short"): "film walk letter speech story trip".split(),
    ("big", "small"): "plate bag garden boat kitchen window".split(),
}
QUALITIES = {word: pair for pair in TASTES for word in pair}
INTENSIFIERS = ("very", "really", "truly", "rather", "so")
PRAISE = (  # the first are the most common
    "that is just how it should be.",
    "I was {very} glad of it.",
    "I {very} liked it {wish}.",
    "that is {very} good.",
    "it made my day.",
    "nothing pleases me more.",
)
COMPLAINTS = (
    "that is a pity.",
    "I was {very} sorry about it.",
    "I wanted it {wish}.",
    "that is {very} bad.",
    "it spoiled my day.",
    "nothing annoys me more.",
)
