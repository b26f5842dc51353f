"""A small world in plain English: films, restaurants, hotels, gadgets, and the people who try them.

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

# Of each domain: its rules, then the aspects of its things with the adjectives bad / good of them.
# The first aspect is the time spent with the thing, the others are its parts.

FILM = """
tried: saw
had_tried: had seen it
again: see it again
thing: film, comedy, drama, thriller, musical
first: The Paper, The Silver, The Crooked, The Velvet, The Winter, The Hollow
last: Lighthouse, Orchard, Harbour, Staircase, Parade, Comet, Gardener
fact: a ticket cost {n} crowns, it ran for {n} weeks, it was directed by a {role} from {place}
fame: most seats were empty, nobody talked about it / every seat was sold, everyone talked about it
choice: stayed at home, went dancing instead / bought a ticket, went to see it at once
deed: left before the end, fell asleep halfway, asked for {my} money back, yawned all evening / \
clapped at the end, bought tickets for {my} whole family, hummed all the way home, \
went to see it again the next day

an evening: dull, wasted, endless / exciting, lovely, memorable
a plot: thin, predictable, muddled, silly / gripping, clever, unpredictable, rich
acting: stiff, flat, wooden, clumsy / moving, natural, honest, subtle
jokes: stale, cheap, tired, crude / sharp, fresh, clever, witty
an ending: abrupt, silly, obvious, weak / surprising, bold, tender, strong
music: shrill, noisy, cold, dull / haunting, soft, lively, warm
effects: cheap, dated, clumsy / dazzling, inventive, elegant
a pace: slow, uneven, tiring / brisk, lively, steady
characters: shallow, flat, cold / believable, deep, warm, complex
"""

RESTAURANT = """
tried: ate at
had_tried: had eaten there
again: eat there again
thing: restaurant, bistro, diner, tavern, canteen
first: the Copper, the Blue, the Merry, the Golden, the Old, the Little
last: Spoon, Kettle, Onion, Goose, Pepper, Barrel, Anchor
fact: a dinner for two cost {n} crowns, it had {n} tables, it was run by a {role} from {place}
fame: it was empty every night, nobody went twice / it was full every night, everyone went twice
choice: ate at home, went for a walk instead / booked a table, went there at once
deed: left half the plate, walked out hungry, asked for {my} money back, argued with the cook / \
left a big tip, thanked the cook, asked for the recipe, booked a table for the next week

a meal: dreary, dull, joyless / lovely, splendid, memorable
soup: thin, bland, cold, salty / rich, thick, hot, fresh
a steak: tough, dry, burnt, thin / tender, juicy, thick
bread: hard, stale, dry, heavy / soft, warm, fresh, light
portions: small, mean, light / big, generous, filling
a queue: long, slow, endless / short, quick
drinks: warm, weak, flat / cold, strong, fresh
prices: steep, high, silly / low, fair, modest
waiters: rude, slow, clumsy, cold / polite, quick, friendly, warm
"""

HOTEL = """
tried: stayed at
had_tried: had stayed there
again: stay there again
thing: hotel, inn, hostel, lodge, guesthouse
first: the Heron, the Maple, the Castle, the Ferry, the Swan, the Hillside
last: House, Court, Rest, Arms, Lodge, Gate
fact: a night cost {n} crowns, it had {n} rooms, it was run by a {role} from {place}
fame: it stood empty, nobody came back / it was always full, guests came back every year
choice: looked for another place, camped by the lake / booked a room, packed at once
deed: left a day early, lay awake all night, asked for {my} money back, moved to another place / \
stayed two more nights, slept like a child, thanked the owner, booked the same room for the summer

a stay: dreary, joyless, wasted / restful, lovely, memorable
rooms: loud, cold, dark, small / quiet, warm, bright, big
beds: hard, narrow, short, uneven / soft, wide, long
walls: thin, dirty, damp / thick, solid, clean
towels: rough, thin, damp, stale / soft, thick, dry, fresh
curtains: thin, stained, torn / thick, heavy, clean
a lobby: hot, noisy, dirty, dreary / cool, calm, clean, elegant
tea: cold, weak, bitter / hot, strong, fresh
stairs: steep, narrow, dark, endless / wide, bright, even
porters: gruff, lazy, loud / helpful, polite, quick
"""

GADGET = """
tried: bought
had_tried: had bought it
again: buy one again
thing: radio, phone, tablet, recorder, alarm clock
first: the Velo, the Norvik, the Pim, the Arkon, the Tessel, the Ombra
last: One, Mini, Duo, Ninety, Junior, Max
fact: it cost {n} crowns, it came in {n} colours, it was designed by a {role} from {place}
fame: it gathered dust in the shops, nobody wanted one / it was always sold out, everyone wanted one
choice: kept the old one, saved the money / ordered one, went to the shop at once
deed: sent it back, left it in a drawer, asked for {my} money back, gave it away / \
bought another for {my} mother, used it every day, showed it to everyone, took it on every trip

a purchase: foolish, wasted, costly / wise, happy, splendid
a case: thick, heavy, fragile / thin, light, tough
a speaker: quiet, weak, muffled / loud, strong, clear
a battery life: short, uneven, mean / long, steady, generous
controls: complex, unpredictable, surprising / simple, predictable, obvious
a screen: dark, dim, cloudy, small / bright, sharp, clear, big
buttons: stiff, loose, noisy / smooth, soft, quiet, light
edges: sharp, rough, uneven / smooth, soft, even
a charger: slow, hot, big, loud / quick, cool, small, silent
"""

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
    "document": ("{visit}", "{visit}", "{tale}", "{tale}", "{truth}"),
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


def an(phrase: str) -> str:
    return f"{'an' if re.match('[aeiou]|honest', phrase) else 'a'} {phrase}"


def fillings(text: str) -> tuple:
    """'thin, flat / clever' is (('thin', 'flat'), ('clever',)); without a bar, one tuple."""
    parts = tuple(tuple(part.split(", ")) for part in text.split(" / "))
    return parts if len(parts) > 1 else parts[0]


def read_rules(text: str) -> dict:
    lines = (line.split(": ") for line in text.strip().splitlines())
    return {hole: fillings(rest) for hole, rest in lines}


class Aspect:
    """A part of a thing, and its adjectives (bad, good)."""

    def __init__(self, noun: str, adjectives: tuple):
        article, self.noun = re.fullmatch("(an? )?(.+)", noun).groups()
        self.counted = article is not None  # plurals ("walls") and stuff ("acting") are not
        self.adjectives = adjectives

    def a(self, adjective: str) -> str:
        return an(f"{adjective} {self.noun}") if self.counted else f"{adjective} {self.noun}"

    def was(self, quality: str) -> str:
        return f"the {self.noun} {'were' if self.noun.endswith('s') else 'was'} {quality}"


def read_domain(text: str) -> dict:
    own, aspects = map(read_rules, text.split("\n\n"))
    return own | {"aspects": [Aspect(*line) for line in aspects.items()]}


DOMAINS = {
    "film": read_domain(FILM),
    "restaurant": read_domain(RESTAURANT),
    "hotel": read_domain(HOTEL),
    "gadget": read_domain(GADGET),
}
PARTS = [part for domain in DOMAINS.values() for part in domain["aspects"][1:]]
FLIPS = [
    f"everyone likes {good.a(adjective)}, but nobody likes {bad.a(adjective)}"
    for good in PARTS
    for bad in PARTS
    for adjective in good.adjectives[1]
    if adjective in bad.adjectives[0]
]
RULES = SENTENCES | read_rules(COMMON) | {"flip": FLIPS}


class Scene(dict):
    """Who tried what, and whether they liked it: scene["ending"] is an ending that fits.

    A word is either settled here, or made by its rule whenever it is asked for.
    """

    def __init__(self, rng, rules: dict, liked: bool, person: dict):
        super().__init__(person)
        self.rng, self.rules, self.liked = rng, rules, liked
        self.aspects = shuffled(rng, rules["aspects"])
        self["name"] = f"{self['first']} {self['last']}"
        self["a_thing"] = an(self["thing"])
        self.consider()

    def __missing__(self, hole: str) -> str:
        if hole == "opinion":
            self.consider()
        rule = self.rules[hole]
        fitting = rule if isinstance(rule[0], str) else rule[self.liked]
        return pick(self.rng, fitting).format_map(self)

    def consider(self):
        """Settle what may be said of the next two aspects, one that decides and another."""
        decides, other, *self.aspects = self.aspects
        win = pick(self.rng, decides.adjectives[self.liked])
        loss = pick(self.rng, other.adjectives[not self.liked])
        self.update(
            wins=decides.was(self.quality(decides, self.liked)),
            wins_so=decides.was(f"so {win}"),
            agrees=other.was(self.quality(other, self.liked)),
            loses=other.was(self.quality(other, not self.liked)),
            a_winner=decides.a(win),
            a_loser=other.a(loss),
            the_winner=f"the {win} {decides.noun}",
            the_loser=f"the {loss} {other.noun}",
        )

    def quality(self, aspect: Aspect, good: bool) -> str:
        """'clever', 'rather clever' or, denying the opposite, 'far from thin'."""
        chance = self.rng.random()
        if chance < 0.25:
            return f"{self['denial']} {pick(self.rng, aspect.adjectives[not good])}"
        adjective = pick(self.rng, aspect.adjectives[good])
        return f"{self['degree']} {adjective}" if chance < 0.7 else adjective

    def text(self, hole: str) -> str:
        """What fills the hole, with the capitals of its sentences."""
        start = r'(^"?|[.?!] "?)([a-z])'
        return re.sub(start, lambda match: match[1] + match[2].upper(), self[hole])


def documents(rng: np.random.Generator) -> Iterator[str]:
    """An endless stream of documents, of two to five sentences each."""
    domains = [RULES | domain for domain in DOMAINS.values()]
    while True:
        rules, liked = pick(rng, domains), rng.random() < 0.5
        if rng.random() < 0.15:
            yield Scene(rng, rules, liked, MYSELF).text("visit")
        else:
            one, other = (
                pick(rng, people) | {"first": first}
                for people, first in zip(shuffled(rng, PEOPLE), shuffled(rng, rules["first"]))
            )
            scene = Scene(rng, rules, liked, one)
            scene["other"] = Scene(rng, rules, not liked, other)
            yield scene.text("document")
