"""The world's opinions: films, restaurants, hotels, gadgets, shops, and the people who try them.

Meaning comes before words.  A scene first settles who tried what and whether they liked it; what
they noticed, felt and did follows from that.  So whoever predicts the text well knows what is good
and what is bad, and of what: a long battery life is good and a long queue is bad, thick walls are
good and a thick case is bad.

The grammar is a table of rules, {hole: fillings}, and a filling may have holes of its own.  Where
it depends on liking, a rule is a pair, written "bad / good", and pair[liked] reads it.
"""

import re
from collections.abc import Iterator

import numpy as np

from .domains import DOMAINS, Aspect, an, names, read_rules

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

# What wins decides; what agrees, or loses by being the opposite, is said of another aspect.
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
PEOPLE = (
    [SHE | {"person": name} for name in "Mara Ilse Oda Petra Wenna Lira Sabine Tamsin".split()],
    [HE | {"person": name} for name in "Tomas Edric Jory Anselm Pavel Borin Lucan Osric".split()],
)


def pick(rng, items):
    return items[int(rng.random() * len(items))]  # 0.3 us; rng.choice takes 4


def shuffled(rng, items) -> list:
    return [items[i] for i in rng.permutation(len(items))]


def drawn(rng, items) -> Iterator:
    """The items in any order, each drawn when it is asked for."""
    items = list(items)
    while items:
        items.remove(item := pick(rng, items))
        yield item


PARTS = [part for domain in DOMAINS.values() for part in domain["aspects"][1:]]
FLIPS = [
    f"everyone likes {good.a(adjective)}, but nobody likes {bad.a(adjective)}"
    for good in PARTS
    for bad in PARTS
    for adjective in good.adjectives[1]
    if adjective in bad.adjectives[0]
]
RULES = SENTENCES | read_rules(COMMON) | {"flip": FLIPS}


DOCUMENT_RULES = [RULES | domain for domain in DOMAINS.values()]
QUALITIES = (*5 * ("denial",), *9 * ("degree",), *6 * ("",))


CONSIDERED = {  # of the next two aspects, of which one decides
    "one": lambda scene: next(scene.aspects),
    "two": lambda scene: next(scene.aspects),
    "win": lambda scene: pick(scene.rng, scene["one"].adjectives[scene.liked]),
    "loss": lambda scene: pick(scene.rng, scene["two"].adjectives[not scene.liked]),
    "wins": lambda scene: scene.says(scene["one"], scene.liked),
    "wins_so": lambda scene: scene["one"].was(f"so {scene['win']}"),
    "agrees": lambda scene: scene.says(scene["two"], scene.liked),
    "loses": lambda scene: scene.says(scene["two"], not scene.liked),
    "a_winner": lambda scene: scene["one"].a(scene["win"]),
    "a_loser": lambda scene: scene["two"].a(scene["loss"]),
    "the_winner": lambda scene: f"the {scene['win']} {scene['one'].noun}",
    "the_loser": lambda scene: f"the {scene['loss']} {scene['two'].noun}",
}
SETTLED = CONSIDERED | {
    "name": lambda scene: pick(scene.rng, names(scene.rules, False, scene.get("first"))),
    "a_thing": lambda scene: an(scene["thing"]),
    "other": lambda scene: scene.opposite(),
}


class Scene(dict):
    """Who tried what, and whether they liked it: scene["ending"] is an ending that fits.

    A word is either settled once, or made by its rule whenever it is asked for.  Nothing is chosen
    before it is needed, so that all that was chosen can be seen in the text.
    """

    def __init__(self, rng, rules: dict, liked: bool, person: dict):
        super().__init__(person)
        self.rng, self.rules, self.liked = rng, rules, liked
        self.aspects = drawn(rng, rules["aspects"])

    def __missing__(self, hole: str) -> str:
        if hole in SETTLED:
            self[hole] = SETTLED[hole](self)
            return self[hole]
        if hole == "opinion":
            for last in CONSIDERED:
                self.pop(last, None)
        rule = self.rules[hole]
        fitting = rule if isinstance(rule[0], str) else rule[self.liked]
        return pick(self.rng, fitting).format_map(self)

    def says(self, aspect: Aspect, good: bool) -> str:
        """'The plot was clever', 'rather clever' or, denying the opposite, 'far from thin'."""
        how = pick(self.rng, QUALITIES)
        adjective = pick(self.rng, aspect.adjectives[good != (how == "denial")])
        return aspect.was(f"{self[how]} {adjective}" if how else adjective)

    def opposite(self) -> "Scene":
        """Another's, who tried another thing of the kind and felt otherwise."""
        person = pick(self.rng, PEOPLE[self["I"] == "she"])
        first = pick(self.rng, [one for one in self.rules["first"] if one != self["first"]])
        return Scene(self.rng, self.rules, not self.liked, person | {"first": first})

    def text(self, hole: str) -> str:
        """What fills the hole, with the capitals of its sentences."""
        start = r'(^"?|[.?!] "?)([a-z])'
        return re.sub(start, lambda match: match[1] + match[2].upper(), self[hole])


def document(rng: np.random.Generator) -> str:
    """Two to five sentences about one or two things, and who tried them."""
    rules, liked = pick(rng, DOCUMENT_RULES), pick(rng, (False, True))
    if pick(rng, (True, *6 * (False,))):
        return Scene(rng, rules, liked, MYSELF).text("visit")
    person = pick(rng, pick(rng, PEOPLE)) | {"first": pick(rng, rules["first"])}
    return Scene(rng, rules, liked, person).text("document")
