"""Opinions and tales: people who try a film, a restaurant, a hotel, a gadget or a shop.

Meaning comes before words.  A `Scene` first settles who tried what and whether they liked it; what
they noticed, felt and did follows.  A model that predicts this text well therefore knows what is
good and what is bad, and in what: a long battery life is good and a long queue is bad, thick walls
are good and a thick case is bad.

The grammar is a table of rules, {slot: alternatives}; an alternative may have slots of its own, in
braces.  Where the choice depends on whether the person liked the thing, the rule is a pair, written
"bad / good" and read as pair[liked].
"""

import re
from collections.abc import Iterator
from functools import cache

import numpy as np

from .domains import Aspect, an, domains, names, read_rules

COMMON = """
ending: {verdict}, {verdict}, {I} {deed}
verdict: {I} was sorry that {I} {had_tried}, {I} would never {again}, \
all in all {I} disliked it, {I} told all {my} friends to keep away / \
{I} was glad that {I} {had_tried}, {I} would gladly {again}, \
all in all {I} liked it, {I} told all {my} friends to try it
feeling: {sad}, {degree} {sad}, {denial} {glad} / {glad}, {degree} {glad}, {denial} {sad}
sad: disappointed, annoyed, unhappy, upset, bored, cross
glad: delighted, happy, pleased, content, cheerful, charmed
degree: very, really, rather, truly
denial: not, not at all, anything but, far from, by no means, hardly
preference: {tried} {other[name]} and {other[deed]} / {tried} {name} and {deed}
wish: few people hope for {a_winner} / most people hope for {a_winner}
role: nurse, baker, teacher, sailor, student, painter, farmer, clerk, driver
age: newest, oldest, biggest, smallest, only, most famous
n: three, five, six, eight, nine, eleven, twelve, fifteen, twenty, thirty, forty, eighty
town: {place} was a {kind} town {where}. {it_had}. {fame_of_it}.
kind: small, big, quiet, busy, poor, rich, very old, rather new
where: by the sea, on a river, in the hills, near the border, on an island, at the end of the line
it_had: it had {n} {sights} and {n} {halls}, there were {n} {sights} and hardly any {halls}, \
there were {n} {halls} but no old {sights}, nobody had ever counted its {sights}
sights: bridges, chapels, mills, towers, wells, gates
halls: gardens, markets, taverns, theatres, schools, libraries
fame_of_it: people from {elsewhere} laughed at it, people came from {elsewhere} to see it, \
{person} was born there, a {role} from {elsewhere} wrote a song about it, \
the last train to {elsewhere} left at noon
elsewhere: Upper Hask, Wendle, Ambry, Sorrow Hill, Long Acre
thing_at_home: bread, tea, a torch, a map, ink, soap, a key, an old coat, apples
more: two tickets, {n} eggs, {n} candles, a ball of string, a bag of nails, a pair of socks
gift: honey, a warm scarf, a basket of plums, {n} pencils, a letter from a friend, a spoon
place: Tarnwick, Ostrel, Larkhaven, Brindlow, Merrowby, Quillport, Hasken, Dunmarrow
time: on Monday, on Friday, last week, in the spring, after work, on Sunday
"""

# An opinion compares two aspects.  The winner decides; the other agrees, or disagrees and loses.
OPINIONS = (
    "{wins}",
    "{wins} and {agrees}",
    "{loses}, but {wins}, and that mattered more to {me}",
    "{wins}, and to {me} that mattered more than {the_loser}",
    "although {loses}, it was {the_winner} that stayed with {me}",
    "it was {the_winner} that {I} remembered, not {the_loser}",
    "{my} friends had told {me} that {loses}, and they were wrong",
    "{my} friends had told {me} that {wins}, and they were right",
    "{I} expected {a_loser}, and {I} was wrong",
    "{I} expected {a_winner}, and {I} was right",
)
BAD_OPINIONS = (
    "{loses}, but {wins_so} that it spoiled everything",
    "{the_loser} did not make up for {the_winner}",
    "{I} hoped for {a_loser} and found nothing of the kind",
    "{I} feared {a_winner}, and {I} was right",
    "{I} wanted to like it, but {wins}",
)
GOOD_OPINIONS = (
    "{loses}, but {wins_so} that it made up for everything",
    "{the_winner} made up for {the_loser}",
    "{I} feared {a_loser} and found nothing of the kind",
    "{I} hoped for {a_winner}, and {I} was right",
    "{I} did not want to like it, but {wins}",
)

SENTENCES = {
    "document": (*3 * ("{visit}",), *3 * ("{tale}",), "{truth}", "{town}", "{errand}"),
    "visit": (
        "{who} {tried} {name} {time}. {opinion}. {ending}.",
        "{who} {tried} {name} {time}. {opinion}. {I} was {feeling} and {deed}.",
        "{time} {who} {tried} {name}. {opinion}. {opinion}. {ending}.",
        "{time} {who} {tried} {name}. {fact}. {opinion}. {I} was {feeling}. {ending}.",
        "{who} {tried} {name} and was {feeling}: {wins}. {I} {deed}. {verdict}.",
    ),
    "tale": (
        "{name} was the {age} {thing} in {place}. {fact}.",
        "{name} was the {age} {thing} in {place}. {wins} and {agrees}. {fame}.",
        "{name} was {a_thing}. {fact}. {wins}, so {fame}.",
        '{other[who]} asked {person} about {name}. "{wins}," said {person}, '
        "so {other[I]} {choice}.",
        '"{loses}, but {wins_so}!" said {person} of {name}. {other[person]} heard it and {choice}.',
        "{who} and {other[person]} {tried} {name} together {time}. "
        "{person} {deed}, because {wins}. {other[person]} {other[deed]}, because {other[wins]}.",
    ),
    "list": (
        "on the list were {thing_at_home}, {more} and {gift}",
        "{I} packed {thing_at_home}, {more} and {gift}",
        "{I} needed {more}, {thing_at_home} and a little luck",
        "first {I} found {thing_at_home}, then {gift}",
        "there was room for {more}, for {gift} and for little else",
    ),
    "errand": (
        "{time} {who} went to {place}. {list}. On the way {I} {tried} {name}. {wins}.",
        "before {I} {tried} {name}, {person} made a list. {list}. {list}.",
        "{who} had friends in {place}. {time} they came to see {me}. {list}. {list}.",
    ),
    "truth": (
        "{name} was known for {a_winner} and {other[name]} for {other[a_winner]}. "
        "{who} {preference}.",
        "{wish} when they think of {a_thing}. {flip}.",
        "{flip}. {flip}.",
    ),
    "who": ("{person}", "{person}, a {role},"),
    "opinion": (OPINIONS + BAD_OPINIONS, OPINIONS + GOOD_OPINIONS),
}

SHE, HE = {"I": "she", "me": "her", "my": "her"}, {"I": "he", "me": "him", "my": "his"}
MYSELF = {"I": "I", "me": "me", "my": "my", "who": "I"}
WOMEN = "Mara", "Ilse", "Oda", "Petra", "Wenna", "Lira", "Sabine", "Tamsin"
MEN = "Tomas", "Edric", "Jory", "Anselm", "Pavel", "Borin", "Lucan", "Osric"
DEGREES = (*5 * ("denial",), *9 * ("degree",), *6 * ("",))  # how a quality is qualified


@cache
def people() -> tuple:
    """Return the women and the men: two lists of {slot: word}."""
    return [SHE | {"person": name} for name in WOMEN], [HE | {"person": name} for name in MEN]


@cache
def common_rules() -> dict:
    """Return the rules that hold in every domain."""
    return SENTENCES | read_rules(COMMON) | {"flip": flips()}


@cache
def rules_by_domain() -> list[dict]:
    """Return the rules of each domain, with the common ones."""
    return [common_rules() | domain for domain in domains().values()]


def flips() -> list[str]:
    """Return sentences on adjectives that are good of one part of a thing and bad of another."""
    parts = [part for domain in domains().values() for part in domain["aspects"][1:]]
    return [
        f"everyone likes {good.a(adjective)}, but nobody likes {bad.a(adjective)}"
        for good in parts
        for bad in parts
        for adjective in good.adjectives[1]
        if adjective in bad.adjectives[0]
    ]


def pick(rng, items):
    """Return a random item."""
    return items[int(rng.random() * len(items))]  # 0.3 µs; rng.choice takes 4


def shuffled(rng, items) -> list:
    """Return the items in random order."""
    return [items[i] for i in rng.permutation(len(items))]


def in_random_order(rng, items) -> Iterator:
    """Yield the items in random order, each drawn when it is asked for."""
    items = list(items)
    while items:
        items.remove(item := pick(rng, items))
        yield item


COMPARED = {  # slots of an opinion, which compares two aspects
    "one": lambda scene: next(scene.aspects),
    "two": lambda scene: next(scene.aspects),
    "win": lambda scene: pick(scene.rng, scene["one"].adjectives[scene.liked]),
    "loss": lambda scene: pick(scene.rng, scene["two"].adjectives[not scene.liked]),
    "wins": lambda scene: scene.clause(scene["one"], scene.liked),
    "wins_so": lambda scene: scene["one"].was(f"so {scene['win']}"),
    "agrees": lambda scene: scene.clause(scene["two"], scene.liked),
    "loses": lambda scene: scene.clause(scene["two"], not scene.liked),
    "a_winner": lambda scene: scene["one"].a(scene["win"]),
    "a_loser": lambda scene: scene["two"].a(scene["loss"]),
    "the_winner": lambda scene: f"the {scene['win']} {scene['one'].noun}",
    "the_loser": lambda scene: f"the {scene['loss']} {scene['two'].noun}",
}
SETTLED = COMPARED | {  # slots that are filled once in a scene
    "name": lambda scene: pick(scene.rng, names(scene.rules, False, scene.get("first"))),
    "a_thing": lambda scene: an(scene["thing"]),
    "other": lambda scene: scene.opposite(),
}


class Scene(dict):
    """Who tried what, and whether they liked it: scene["ending"] is a fitting ending.

    A slot in SETTLED is filled once; any other is filled anew, by its rule, whenever it is asked
    for.  Nothing is drawn before it is needed, so every choice shows in the text (see `entropy`).
    """

    def __init__(self, rng, rules: dict, liked: bool, person: dict):
        super().__init__(person)
        self.rng, self.rules, self.liked = rng, rules, liked
        self.aspects = in_random_order(rng, rules["aspects"])

    def __missing__(self, slot: str) -> str:
        if slot in SETTLED:
            self[slot] = SETTLED[slot](self)
            return self[slot]
        if slot == "opinion":  # a new one, of the next two aspects
            for compared in COMPARED:
                self.pop(compared, None)
        rule = self.rules[slot]
        alternatives = rule if isinstance(rule[0], str) else rule[self.liked]
        return pick(self.rng, alternatives).format_map(self)

    def clause(self, aspect: Aspect, good: bool) -> str:
        """Return "the plot was clever", "rather clever", or by denying the opposite "not thin"."""
        degree = pick(self.rng, DEGREES)
        adjective = pick(self.rng, aspect.adjectives[good != (degree == "denial")])
        return aspect.was(f"{self[degree]} {adjective}" if degree else adjective)

    def opposite(self) -> "Scene":
        """Return a scene of another person, who tried another thing and felt otherwise."""
        person = pick(self.rng, people()[self["I"] == "she"])
        first = pick(self.rng, [word for word in self.rules["first"] if word != self["first"]])
        return Scene(self.rng, self.rules, not self.liked, person | {"first": first})

    def text(self, slot: str) -> str:
        """Return the text of a slot, each sentence with a capital."""
        start = r'(^"?|[.?!] "?)([a-z])'
        return re.sub(start, lambda match: match[1] + match[2].upper(), self[slot])


def document(rng: np.random.Generator) -> str:
    """Return two to five sentences about one or two things, and who tried them."""
    rules, liked = pick(rng, rules_by_domain()), pick(rng, (False, True))
    if pick(rng, (True, *6 * (False,))):
        return Scene(rng, rules, liked, MYSELF).text("visit")
    person = pick(rng, pick(rng, people())) | {"first": pick(rng, rules["first"])}
    return Scene(rng, rules, liked, person).text("document")
