"""The task `sentiment`: did the writer of a review like it?

The reviews of train, dev and test are of films and restaurants, those of "ood" of hotels and
gadgets.  Counting good and bad words is not enough: a bag of words reaches about 80 % of "test" and
70 % of "ood".  Words are denied ("far from dull"); expected, feared or claimed by friends, rightly
or wrongly; outweighed by another clause ("although the plot was thin, it was the moving acting that
stayed with me"); and good or bad depending on the noun (a thin plot is bad, a thin case is good).
The reviews use the words of the pretraining text, from which the base can know what is good in a
hotel although no training review says so.
"""

import re
from functools import cache, partial
from os.path import commonprefix

from ..data.splits import generate_splits
from .domains import domains
from .language import MYSELF, Scene, common_rules, pick

IN_DISTRIBUTION = ("film", "restaurant")
OUT_OF_DISTRIBUTION = ("hotel", "gadget")

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
}


@cache
def review_rules(domain: str) -> dict:
    """Return the rules of reviews of things of a domain."""
    opinions = tuple(alternatives + OPINIONS for alternatives in common_rules()["opinion"])
    return common_rules() | domains()[domain] | REVIEWS | {"opinion": opinions}


def wordings() -> list[tuple[str, dict]]:
    """Return the verdicts of the world's text as templates, each with a word for each class.

    The first is ("{x} I was [MASK]", {0: "sorry", 1: "glad"}).
    """
    found = []
    for verdicts in zip(*common_rules()["verdict"]):
        bad, good = (re.sub(r"\{(?!I|my).*", "", text).format_map(MYSELF) for text in verdicts)
        start = commonprefix([bad.split(), good.split()])
        words = [text.split()[len(start) :] for text in (bad, good)]
        end = len(commonprefix([w[::-1] for w in words]))
        classes = {c: " ".join(w[: len(w) - end]) for c, w in enumerate(words)}
        found.append((f"{{x}} {start[0].capitalize()} {' '.join(start[1:])} [MASK]", classes))
    return found


def example(rng, i: int, ood: bool) -> tuple:
    """Return (text, liked).  Labels alternate, so that every beginning of a split is balanced."""
    liked = i % 2
    while True:
        domain = pick(rng, OUT_OF_DISTRIBUTION if ood else IN_DISTRIBUTION)
        text = Scene(rng, review_rules(domain), bool(liked), MYSELF).text("review")
        if 8 <= len(text.split()) <= 40:
            return text, liked


splits = partial(generate_splits, example)
