"""The task `table`: describe a record of facts in a sentence or two.

Records of restaurants, shops, hotels, theatres and gadgets are trained on; "ood" has museums, parks
and films, some of whose fields occur elsewhere (price, rating, near) and some of which do not.  The
documents describe those categories too, but never show a record of them.  Each record has three
references, in different orders and words.
"""

from functools import cache, partial

import numpy as np

from ..data.splits import generate_splits
from ..data.text_metrics import bleu
from .domains import an, domains, names, read_rules
from .language import pick, shuffled

# A category has fields with their values and then, after a blank line, fields with their phrases.

RESTAURANT = """
serves: fish soup, onion soup, pepper steak, fresh bread, apple cake, cold plates
seats: {number}

serves: serves {}, is known for its {}
seats: seats {} guests, has tables for {} guests
price: charges {} for a dinner, asks {} for a meal
"""

SHOP = """
kind: shop, corner shop, gift shop, store, market stall
first: the Copper, the Green, the Merry, the White, the Old, the Corner
last: Basket, Drawer, Candle, Button, Ladder, Ribbon
sells: warm bread, old books, wooden toys, winter hats, spring flowers, bright paint
opens: at six, at eight, at nine, at noon, on Monday, on Friday

sells: sells {}, is the place for {}
opens: opens {}, opens its doors {}
price: asks {} for most things, seldom charges more than {}
"""

HOTEL = """
offers: hot baths, quiet rooms, soft beds, free tea, late breakfast, free boats
rooms: {number}

offers: offers {}, is liked for its {}
rooms: has {} rooms, can let {} rooms
price: charges {} a night, asks {} for a night
"""

THEATRE = """
kind: theatre, opera house, puppet theatre, concert hall, dance hall
first: the Velvet, the Silver, the Royal, the Crooked, the Winter, the Lantern
last: Stage, Curtain, Balcony, Mirror, Mask, Organ
plays: old songs, new comedies, long dramas, brass music, sad operas, fairy tales
seats: {number}

plays: plays {}, is famous for {}
seats: seats {} guests, has room for {} guests
price: asks {} for a ticket, sells tickets for {}
"""

GADGET = """
colour: red, green, yellow, blue, white, black, brown
weight: {number} grams

colour: comes in {}, is painted {}
weight: weighs {}, weighs no more than {}
price: costs {}, is sold for {}
"""

MUSEUM = """
kind: museum, gallery, picture house, collection
first: the Marble, the Amber, the Harbour, the Castle, the Glass, the Iron
last: Wing, Tower, Vault, Hall, Cabinet, Arch
shows: old maps, glass birds, stone heads, toy trains, sea paintings, early clocks
opens: at six, at eight, at nine, at noon, on Monday, on Friday

shows: shows {}, is the home of {}
opens: opens {}, opens its doors {}
price: asks {} for a ticket, sells tickets for {}
"""

PARK = """
kind: park, garden, wood, meadow
first: the Willow, the Heron, the Fox, the Mill, the Swan, the Cherry
last: Green, Hill, Walk, Field, Pond, Grove
grows: tall oaks, white roses, apple trees, wild herbs, water lilies, old limes
opens: at six, at eight, at nine, at noon, on Monday, on Friday

grows: grows {}, is full of {}
opens: opens {}, opens its gates {}
price: asks {} for a visit, charges visitors {}
"""

FILM = """
about: two brothers, a lost ring, a long winter, the sea, a strange guest, an honest thief
lasts: {number} minutes

about: tells of {}, is about {}
lasts: lasts {}, runs for {}
price: costs {} to see, can be seen for {}
"""

SHARED = """
price: {number} crowns
rating: poor, fair, good, very good, excellent
near: the harbour, the station, the old bridge, the market, the school, the lake, the church

near: stands near {}, lies close to {}
rating: is rated {}, is thought {} by most people
"""
PLACES = "Tarnwick Ostrel Larkhaven Brindlow Merrowby Quillport Hasken Dunmarrow".split()
NUMBERS = "twelve fifteen twenty thirty forty fifty sixty eighty ninety".split()
IN_DISTRIBUTION = {
    "restaurant": RESTAURANT,
    "shop": SHOP,
    "hotel": HOTEL,
    "theatre": THEATRE,
    "gadget": GADGET,
}
OUT_OF_DISTRIBUTION = {"museum": MUSEUM, "park": PARK, "film": FILM}


class Category:
    """The `values` of each field of a record, and the `phrases` that express a value."""

    def __init__(self, name: str, rules: str):
        values, phrases = map(read_rules, rules.split("\n\n"))
        shared_values, shared_phrases = map(read_rules, SHARED.split("\n\n"))
        self.values = shared_values | domains().get(name, {}) | values
        self.phrases = shared_phrases | phrases
        self.names = names(self.values, held_out=False)
        self.values["kind"] = self.values.get("kind") or self.values["thing"]
        self.preposition = "in"
        if name in ("gadget", "film"):  # come from a place, and are near nothing
            self.preposition = "from"
            del self.phrases["near"]


@cache
def categories(ood: bool) -> list[Category]:
    """Return the categories of "ood", or those of the other splits."""
    texts = OUT_OF_DISTRIBUTION if ood else IN_DISTRIBUTION
    return [Category(name, rules) for name, rules in texts.items()]


@cache
def all_categories() -> list[Category]:
    """Return all categories."""
    return categories(False) + categories(True)


@cache
def category_by_kind() -> dict[str, Category]:
    """Return the category of each kind of thing, such as "bistro"."""
    return {kind: category for category in all_categories() for kind in category.values["kind"]}


def draw_record(rng, categories: list) -> dict:
    """Return a record: a name, a kind, a place, and two or three other fields."""
    category = pick(rng, categories)
    name, kind = pick(rng, category.names), pick(rng, category.values["kind"])
    fields = shuffled(rng, list(category.phrases))[: pick(rng, (2, 3))]
    facts = {f: pick(rng, category.values[f]).format(number=pick(rng, NUMBERS)) for f in fields}
    return {"name": name, "kind": kind, "place": pick(rng, PLACES)} | facts


def join(parts: list) -> str:
    """Return "serves soup, seats nine guests and is rated fair"."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def describe(rng, record: dict) -> str:
    """Return a random description of a record, in one or two sentences."""
    (_, name), (_, kind), (_, place), *facts = record.items()
    category = category_by_kind()[kind]
    what = f"{an(kind)} {category.preposition} {place}"
    facts = [(pick(rng, category.phrases[field]), value) for field, value in shuffled(rng, facts)]
    facts = [phrase.format(value) for phrase, value in facts]
    descriptions = (
        f"{name} is {what}. It {join(facts)}.",
        f"{name}, {what}, {join(facts)}.",
        f"there is {what} called {name}. It {join(facts)}.",
        f"{name} {facts[0]}. It {join([f'is {what}', *facts[1:]])}.",
    )
    text = pick(rng, descriptions)
    return text[0].upper() + text[1:]


def to_text(record: dict) -> str:
    """Return a record as text: "name: the Old Spoon | kind: bistro | … ="."""
    return " | ".join(f"{field}: {value}" for field, value in record.items()) + " ="


def from_text(text: str) -> dict:
    """Return the record that `to_text` wrote."""
    return dict(field.split(": ") for field in text.removesuffix(" =").split(" | "))


def example(rng, i: int, ood: bool) -> tuple:
    """Return (record as text, three descriptions)."""
    record, descriptions = draw_record(rng, categories(ood)), {}
    while len(descriptions) < 3:
        descriptions[f" {describe(rng, record)}"] = None
    return to_text(record), [*descriptions]


splits = partial(generate_splits, example, dev=200, test=300)


def ceiling(examples: list, seed: int = 1) -> float:
    """Return the BLEU of one more description by the grammar that wrote the references.

    It is not a bound: always taking the longest wording gains about four points.
    """
    rng = np.random.default_rng(seed)
    descriptions = [describe(rng, from_text(text)) for text, _ in examples]
    return bleu(descriptions, [references for _, references in examples])


def document(rng: np.random.Generator) -> str:
    """Return a description, after its record one time in four if the category is not of "ood"."""
    if rng.random() < 0.25:
        record = draw_record(rng, categories(False))
        return f"{to_text(record)} {describe(rng, record)}"
    return describe(rng, draw_record(rng, all_categories()))
