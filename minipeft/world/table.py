"""From a record to a sentence or two that say what it holds.

Records of restaurants, shops, hotels, theatres and gadgets are trained on; "ood" are of museums,
parks and films, whose fields partly occur elsewhere (price, rating, near) and partly do not.  The
documents know those categories too, but never show a record of them.  Each record has three
references, in orders and words of their own.
"""

from functools import partial

import numpy as np

from ..data.metrics import bleu
from ..data.splits import generate_splits
from .domains import DOMAINS, an, names, read_rules
from .language import pick, shuffled

# Of each category: what may fill a field, then how it is said.

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


class Category:
    """What may fill the fields of a record (`values`), and how each is said (`phrases`)."""

    def __init__(self, name: str, rules: str):
        (values, phrases), (own, said) = (map(read_rules, t.split("\n\n")) for t in (SHARED, rules))
        self.values, self.phrases = values | DOMAINS.get(name, {}) | own, phrases | said
        self.names = names(self.values, held=False)
        self.values["kind"] = self.values.get("kind") or self.values["thing"]
        self.where = "in"
        if name in ("gadget", "film"):  # which are from a place, and stand nowhere
            self.where = "from"
            del self.phrases["near"]


TRAINED = {
    "restaurant": Category("restaurant", RESTAURANT),
    "shop": Category("shop", SHOP),
    "hotel": Category("hotel", HOTEL),
    "theatre": Category("theatre", THEATRE),
    "gadget": Category("gadget", GADGET),
}
HELD_OUT = {
    "museum": Category("museum", MUSEUM),
    "park": Category("park", PARK),
    "film": Category("film", FILM),
}
CATEGORIES = [*TRAINED.values(), *HELD_OUT.values()]
BY_KIND = {kind: category for category in CATEGORIES for kind in category.values["kind"]}


def draw_record(rng, categories: list) -> dict:
    """A name, a kind, a place, and two or three other fields."""
    category = pick(rng, categories)
    name, kind = pick(rng, category.names), pick(rng, category.values["kind"])
    fields = shuffled(rng, list(category.phrases))[: pick(rng, (2, 3))]
    more = {f: pick(rng, category.values[f]).format(number=pick(rng, NUMBERS)) for f in fields}
    return {"name": name, "kind": kind, "place": pick(rng, PLACES)} | more


def listing(parts: list) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def describe(rng, record: dict) -> str:
    """One of the ways to say it, in one or two sentences."""
    (_, name), (_, kind), (_, place), *more = record.items()
    category = BY_KIND[kind]
    what = f"{an(kind)} {category.where} {place}"
    says = [(pick(rng, category.phrases[field]), value) for field, value in shuffled(rng, more)]
    says = [phrase.format(value) for phrase, value in says]
    ways = (
        f"{name} is {what}. It {listing(says)}.",
        f"{name}, {what}, {listing(says)}.",
        f"there is {what} called {name}. It {listing(says)}.",
        f"{name} {says[0]}. It {listing([f'is {what}', *says[1:]])}.",
    )
    text = pick(rng, ways)
    return text[0].upper() + text[1:]


def written(record: dict) -> str:
    return " | ".join(f"{field}: {value}" for field, value in record.items()) + " ="


def read(given: str) -> dict:
    """The record that is written so."""
    return dict(field.split(": ") for field in given.removesuffix(" =").split(" | "))


def example(rng, i: int, ood: bool) -> tuple:
    """(a record as it is written, three descriptions)"""
    record, wanted = draw_record(rng, [*(HELD_OUT if ood else TRAINED).values()]), {}
    while len(wanted) < 3:
        wanted[f" {describe(rng, record)}"] = None
    return written(record), [*wanted]


splits = partial(generate_splits, example, dev=200, test=300)


def ceiling(pairs: list, seed: int = 1) -> float:
    """The BLEU of one more description, by who wrote the references.

    It is no bound: who knows all wordings and always takes the longer gets four points more.
    """
    rng = np.random.default_rng(seed)
    return bleu([describe(rng, read(given)) for given, _ in pairs], [wanted for _, wanted in pairs])


def document(rng: np.random.Generator) -> str:
    """A description, now and then behind its record; those of held-out categories have none."""
    if rng.random() < 0.25:
        record = draw_record(rng, [*TRAINED.values()])
        return f"{written(record)} {describe(rng, record)}"
    return describe(rng, draw_record(rng, CATEGORIES))
