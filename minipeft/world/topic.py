"""What is this about: a film, a restaurant, a hotel, a gadget or a shop?

Every text speaks of two of them, one as much as the other, and never names either; what it is about
is the one that it turns to.  So words alone leave it at a half.  "ood" texts turn in ways that no
other has, and tell what was only read or dreamed of.
"""

from functools import partial

from ..data.splits import generate_splits
from .domains import DOMAINS
from .language import MYSELF, RULES, Scene, pick

TURNS = (  # {a} is what the text is about, {b} is not
    "I was going to write that {b}, but I would rather tell you that {a}. {A}.",
    "{A}. That is what I have to say, and it does not matter that {b}. {B}.",
    "{B}, but that is another story. This one is that {a}.",
    "Forget that {b}. {B}. What I think of is that {a}.",
    "{A}, and I will say more of it soon. {B}, and of that I will say nothing.",
    "My friends talked on and on: {b}, they said. I only thought that {a}.",
    "My friends thought that {a}, and so did I. Others said that {b}, but not here.",
    "{A}, and so I wrote this down. {B}, but I have written of that before.",
)
OTHER_TURNS = (
    "I have told you before that {b}. {B}. Now listen: {a}.",
    "{A}, and this letter is about nothing else. I only dreamed that {b}.",
    "In a book I read that {b}, but in fact {a}.",
    "It is true that {a}, and I want to tell you all of it. In a song {b}.",
)


def example(rng, i: int, ood: bool) -> tuple:
    """(text, domain); the domains take turns."""
    about = list(DOMAINS)[i % len(DOMAINS)]
    other = pick(rng, [domain for domain in DOMAINS if domain != about])
    a, b = (
        Scene(rng, RULES | DOMAINS[domain], pick(rng, (False, True)), MYSELF)
        for domain in (about, other)
    )
    said = {"a": a["wins"], "b": b["wins"], "A": a["agrees"].capitalize()}
    turn = pick(rng, OTHER_TURNS if ood else TURNS)
    return turn.format(**said, B=b["agrees"].capitalize()), about


splits = partial(generate_splits, example)
