"""The task `topic`: is this about a film, a restaurant, a hotel, a gadget or a shop?

Each text mentions two domains, equally often and never by name, and is about the one it turns to.
Words alone therefore tell the topic half of the time.  "ood" texts turn to it in ways that no
training example has, and mention things that were only read or dreamed of.
"""

from functools import partial

from ..data.splits import generate_splits
from .domains import DOMAINS, domains
from .language import MYSELF, Scene, common_rules, pick

TURNS = (  # {a} is a clause about the topic, {b} about the other domain
    "I was going to write that {b}, but I would rather tell you that {a}. {A}.",
    "{A}. That is what I have to say, and it does not matter that {b}. {B}.",
    "{B}, but that is another story. This one is that {a}.",
    "Forget that {b}. {B}. What I think of is that {a}.",
    "{A}, and I will say more of it soon. {B}, and of that I will say nothing.",
    "My friends talked on and on: {b}, they said. I only thought that {a}.",
    "My friends thought that {a}, and so did I. Others said that {b}, but not here.",
    "{A}, and so I wrote this down. {B}, but I have written of that before.",
)
OOD_TURNS = (
    "I have told you before that {b}. {B}. Now listen: {a}.",
    "{A}, and this letter is about nothing else. I only dreamed that {b}.",
    "In a book I read that {b}, but in fact {a}.",
    "It is true that {a}, and I want to tell you all of it. In a song {b}.",
)


def example(rng, i: int, ood: bool) -> tuple:
    """Return (text, domain); the domains take turns."""
    topic = list(DOMAINS)[i % len(DOMAINS)]
    other = pick(rng, [domain for domain in DOMAINS if domain != topic])
    a, b = (
        Scene(rng, common_rules() | domains()[domain], pick(rng, (False, True)), MYSELF)
        for domain in (topic, other)
    )
    clauses = {"a": a["wins"], "b": b["wins"], "A": a["agrees"].capitalize()}
    turn = pick(rng, OOD_TURNS if ood else TURNS)
    return turn.format(**clauses, B=b["agrees"].capitalize()), topic


splits = partial(generate_splits, example)
