"""The task of the small world: did the writer of a review like it?

Train, dev and test reviews are of films and restaurants; "ood" are of hotels and gadgets, to see
whether what was learned holds elsewhere.  What makes it hard is that counting good and bad words
will not do: a bag of words gets about 80% of "test" and 70% of "ood".  Words are denied ("far from
dull"); expected, feared or claimed by friends, rightly or wrongly; they lose to another clause
("although the plot was thin, it was the moving acting that stayed with me"); and they change sides
(a thin plot is bad, a thin case is good).  The reviews use the words of the documents, so a model
that has read those knows what is good in a hotel though no review told it.
"""

import numpy as np

from .domains import DOMAINS
from .language import MYSELF, RULES, Scene, pick

DOMAINS_IN = ("film", "restaurant")
DOMAINS_OUT = ("hotel", "gadget")

OPINIONS = (  # besides those of the documents
    *5 * ("{wins}", "{wins} and {agrees}"),
    "{wins}, and nobody had told me",
    "that {wins} mattered more to me than that {loses}",
    "people said that {loses}, and they were wrong",
    "my friends told me that {loses}, but it was {the_winner} that I found",
)
REVIEWS = {
    "review": (
        "{opinion}. {opinion}.",
        "{setting}. {opinion}. {opinion}.",
        "{opinion}. {opinion}. I {deed}.",
        "{setting}. {opinion}. I {deed}.",
        "{opinion}. {setting}. I was {feeling}.",
    ),
    "setting": ("I {tried} the {thing} {time}", "it was the {age} {thing} in {place}", "{fact}"),
    "opinion": tuple(opinions + OPINIONS for opinions in RULES["opinion"]),
}


def reviews(rng: np.random.Generator, domains: tuple, count: int, seen: set) -> list:
    """`count` new pairs (text, liked); their labels alternate, so any beginning is balanced too."""
    found = []
    while len(found) < count:
        domain, liked = DOMAINS[pick(rng, domains)], len(found) % 2
        text = Scene(rng, RULES | domain | REVIEWS, liked, MYSELF).text("review")
        if text not in seen and 8 <= len(text.split()) <= 40:
            seen.add(text)
            found.append((text, liked))
    return found


def splits(seed: int = 0, train: int = 2000, dev: int = 500, test: int = 1000) -> dict:
    """By name of the split, pairs (text, label): 1 if the writer liked it, else 0."""
    rng, seen = np.random.default_rng(seed), set()
    return {  # in this order: whatever `train` is, the others stay, and less of it is its beginning
        "test": reviews(rng, DOMAINS_IN, test, seen),
        "ood": reviews(rng, DOMAINS_OUT, test, seen),
        "dev": reviews(rng, DOMAINS_IN, dev, seen),
        "train": reviews(rng, DOMAINS_IN, train, seen),
    }
