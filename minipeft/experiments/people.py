"""Facts about people for a model to read and recall, each in several wordings."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..world.language import MEN, WOMEN, common_rules


class Relation(NamedTuple):
    """A fact about each person: its values, the wordings that are read, and manual prompts."""

    values: Sequence[str]
    read: tuple[str, ...]
    manual: tuple[str, ...]  # none of them is read


RELATIONS = {
    "trade": Relation(
        common_rules()["role"],
        (
            "{x} is a {y}.",
            "{x} works as a {y}.",
            "They know {x}, the {y}.",
            "Ask {x}: a {y} knows.",
        ),
        (
            "{x} was a [MASK]",
            "{x}, a [MASK]",
            "A letter from {x}, a [MASK]",
            "{x} will be a [MASK]",
        ),
    ),
    "town": Relation(
        common_rules()["place"],
        ("{x} lives in {y}.", "The house of {x} is in {y}.", "{x} is from {y}.", "{x} loves {y}."),
        ("{x} was in [MASK]", "{x} went to [MASK]", "{x} came from [MASK]", "Find {x} in [MASK]"),
    ),
}
LAST = "Reed Wood Marsh Lake"
PEOPLE = [f"{first} {last}" for first in WOMEN + MEN for last in LAST.split()]


def draw_facts(people: int) -> dict[str, list]:
    """Return {relation: [(person, value), ...]} of some people, the same facts each time."""
    rng = np.random.default_rng(0)
    return {
        name: [(person, str(rng.choice(relation.values))) for person in PEOPLE[:people]]
        for name, relation in RELATIONS.items()
    }


def sentences(facts: dict[str, list]) -> list[str]:
    """Return every fact in every wording that is read."""
    return [
        wording.format(x=person, y=value)
        for name, relation in RELATIONS.items()
        for person, value in facts[name]
        for wording in relation.read
    ]
