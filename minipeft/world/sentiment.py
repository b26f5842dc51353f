"""The task of the small world: did the writer of a review like it?

Train, dev and test reviews are of films and restaurants; "ood" are of hotels and gadgets, to see
whether what was learned holds elsewhere.  What makes it hard is that counting good and bad words
will not do: a bag of words gets about 80% of "test" and 70% of "ood".  Words are denied ("far from
dull"); expected, feared or claimed by friends, rightly or wrongly; they lose to another clause
("although the plot was thin, it was the moving acting that stayed with me"); and they change sides
(a thin plot is bad, a thin case is good).  The reviews use the words of the documents, so a model
that has read those knows what is good in a hotel though no review told it.
"""

from functools import partial

from ..data.splits import generate_splits
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


def example(rng, i: int, ood: bool) -> tuple:
    """(text, liked); the labels alternate, so any beginning is balanced too."""
    liked = i % 2
    while True:
        domain = DOMAINS[pick(rng, DOMAINS_OUT if ood else DOMAINS_IN)]
        text = Scene(rng, RULES | domain | REVIEWS, liked, MYSELF).text("review")
        if 8 <= len(text.split()) <= 40:
            return text, liked


splits = partial(generate_splits, example)
