"""The five domains of the world, and what can be good or bad in each."""

import re
from functools import cache

# A domain has rules, "slot: alternatives", of which a bar separates the bad from the good.  Then it
# has aspects, each with its bad and its good adjectives: first the time spent with the thing, then
# the thing's parts.

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

SHOP = """
tried: shopped at
had_tried: had shopped there
again: shop there again
thing: grocery, bookshop, toy shop, hat shop, flower shop
first: the Lantern, the Willow, the Clover, the Robin, the Thimble, the Acorn
last: Shop, Store, Corner, Counter, Basket, Shelf
fact: a full bag cost {n} crowns, it was open {n} hours a day, it was run by a {role} from {place}
fame: it stood empty all day, nobody shopped there twice / \
it was busy all day, everyone shopped there
choice: shopped elsewhere, went home again / took two bags, went there at once
deed: left with an empty bag, took everything back, asked for {my} money back, \
quarrelled with the owner / filled two bags, thanked the owner, came back the next day, \
bought presents for {my} whole family

a visit: dreary, tiring, wasted / pleasant, lovely, splendid
a choice: narrow, small, dull / wide, big, rich
shelves: empty, dusty, uneven / full, clean, long
bags: thin, torn, weak / strong, thick, big
clerks: rude, slow, gruff / polite, quick, helpful
an aisle: narrow, dark, crowded / wide, bright, clear
opening hours: short, odd / long, generous
fruit: hard, stale, sour / soft, ripe, fresh
a till: slow, loud, noisy / quick, quiet, silent
price tags: torn, tiny, muddled / clear, honest, big
"""


DOMAINS = {"film": FILM, "restaurant": RESTAURANT, "hotel": HOTEL, "gadget": GADGET, "shop": SHOP}


def an(phrase: str) -> str:
    """Return the phrase with its indefinite article."""
    return f"{'an' if re.match('[aeiou]|honest', phrase) else 'a'} {phrase}"


def read_alternatives(text: str) -> tuple:
    """Return ("thin", "flat") for "thin, flat", and a pair of such tuples for "thin / clever"."""
    parts = tuple(tuple(part.split(", ")) for part in text.split(" / "))
    return parts if len(parts) > 1 else parts[0]


def read_rules(text: str) -> dict:
    """Return {slot: alternatives} for lines "slot: alternatives"."""
    lines = (line.split(": ") for line in text.strip().splitlines())
    return {slot: read_alternatives(alternatives) for slot, alternatives in lines}


class Aspect:
    """A part of a thing, and its adjectives (bad, good)."""

    def __init__(self, noun: str, adjectives: tuple):
        article, self.noun = re.fullmatch("(an? )?(.+)", noun).groups()
        self.countable = article is not None  # plurals ("walls") and mass nouns ("acting") are not
        self.adjectives = adjectives

    def a(self, adjective: str) -> str:
        """Return "a clever plot", or "thick walls"."""
        phrase = f"{adjective} {self.noun}"
        return an(phrase) if self.countable else phrase

    def was(self, quality: str) -> str:
        """Return "the plot was rather clever", or "the walls were thick"."""
        return f"the {self.noun} {'were' if self.noun.endswith('s') else 'was'} {quality}"


def read_domain(text: str) -> dict:
    """Return the rules of a domain, and its list of aspects under "aspects"."""
    rules, aspects = map(read_rules, text.split("\n\n"))
    return rules | {"aspects": [Aspect(*line) for line in aspects.items()]}


@cache
def domains() -> dict[str, dict]:
    """Return the rules of each domain, by name."""
    return {name: read_domain(text) for name, text in DOMAINS.items()}


def names(rules: dict, held_out: bool, first: str | None = None) -> list[str]:
    """Return the names of things of a domain: ["The Paper Orchard", ...].

    About one name in six is held out: no document and no training example has it.
    first: only names that begin with this word.
    """
    return [
        f"{start} {last}"
        for i, start in enumerate(rules["first"])
        for j, last in enumerate(rules["last"])
        if ((i + j) % len(rules["first"]) == 0) == held_out and first in (None, start)
    ]
