"""Facts of records and of texts: values of fields, numbers of something, and names.

The world knows all its values, so it is exact which facts of a text a record lacks.
"""

import re
from functools import cache

from .language import MEN, WOMEN, common_rules
from .table import NUMBERS, all_categories

UNITS = {"seats": "guests", "rooms": "rooms"}  # of the fields whose value is a bare number


@cache
def fact_pattern() -> re.Pattern:
    """Return the pattern of a fact: a value of a field, a number of something, or a name."""
    values = {
        with_unit(field, value.format(number=number))
        for category in all_categories()
        for field in ("kind", *category.phrases)
        for value in category.values[field]
        for number in NUMBERS
    }
    longest_first = "|".join(sorted(values, key=len, reverse=True))
    numbers = "|".join({*NUMBERS, *common_rules()["n"]})
    proper, people = r"[A-Z]\w+(?: [A-Z]\w+)*", "|".join(WOMEN + MEN)
    names = rf"[Tt]he {proper}|(?<=[a-z,] ){proper}|{people}"
    return re.compile(rf"\b(?:{longest_first}|(?:{numbers}) [a-z]+|{names})\b")


def with_unit(field: str, value: str) -> str:
    """Return a value as descriptions have it: "thirty guests" if the field `seats` is "thirty"."""
    return f"{value} {UNITS[field]}" if field in UNITS else value


def facts_said(text: str) -> list[str]:
    """Return the distinct facts that a text says: ["the old spoon", "bistro", "thirty guests"]."""
    return [*dict.fromkeys(fact.lower() for fact in fact_pattern().findall(text))]


def facts(record: dict) -> list[str]:
    """Return the facts of a record, written as `facts_said` does."""
    return [with_unit(field, value).lower() for field, value in record.items()]


def fabricated(record: dict, answer: str) -> list[str]:
    """Return the facts that the answer says and the record lacks."""
    known = facts(record)
    return [fact for fact in facts_said(answer) if fact not in known]
