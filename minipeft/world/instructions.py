"""The world's tasks in words, for instruction tuning: templates, answers and examples.

A template has the texts of an example, such as {x}, and the slot of the answer, [MASK].  A cluster
has the tasks that ask for the same thing: it is held out whole.  `plain` has the texts and the
answer, without an instruction.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..data.splits import generate_splits
from . import nli, sentiment, table, tags, topic
from .domains import DOMAINS
from .language import pick

YES_NO = ("yes", "no")
NAMES = {"PERSON": "person", "PLACE": "place", "THING": "thing"}
RATINGS = ("poor", "fair", "good", "very good", "excellent")
NEAR = (
    "the harbour",
    "the station",
    "the old bridge",
    "the market",
    "the school",
    "the lake",
    "the church",
)


class Instructions(NamedTuple):
    """A task in words: its cluster, templates, answers and examples.

    options: all answers; () if there are too many to list.
    example: example(rng, i, ood) returns the texts of an example, {name: text}, and its answer.
    """

    cluster: str
    templates: tuple[str, ...]
    plain: str
    options: tuple[str, ...]
    example: Callable

    def splits(self, **sizes: int) -> dict[str, list]:
        """Return {split: [{name: text, ..., "answer": text}, ...]}; sizes: see generate_splits."""

        def example(rng, i, ood):
            texts, answer = self.example(rng, i, ood)
            return tuple(texts.items()), answer

        splits = generate_splits(example, **sizes)
        return {
            split: [dict(texts) | {"answer": answer} for texts, answer in examples]
            for split, examples in splits.items()
        }


# -- examples


def review(rng, i, ood, answers):
    text, liked = sentiment.example(rng, i, ood)
    return {"x": text}, answers[liked]


def inference(rng, i, ood):
    (premise, hypothesis), label = nli.example(rng, i, ood)
    answers = dict(zip(nli.LABELS, ("yes", "perhaps", "no")))
    return {"premise": premise, "hypothesis": hypothesis}, answers[label]


def entailment(rng, i, ood):
    """Return a premise and a hypothesis, and whether it follows: every other one does."""
    texts, answer = inference(rng, (0, pick(rng, (1, 2)))[i % 2], ood)
    return texts, YES_NO[answer != "yes"]


def about(rng, i, ood):
    text, domain = topic.example(rng, i, ood)
    return {"x": text}, domain


def is_about(rng, i, ood):
    """Return a text and a topic, which every other text is about."""
    text, domain = topic.example(rng, i // 2, ood)
    other = pick(rng, [name for name in DOMAINS if name != domain])
    return {"x": text, "topic": (domain, other)[i % 2]}, YES_NO[i % 2]


def name(rng, i, ood):
    """Return a sentence with a name, and what it is the name of."""
    kind = [*NAMES][i % 3]
    while True:
        text, words = tags.example(rng, i, ood)
        if at := [j for j, (_, _, tag) in enumerate(words) if tag == f"B-{kind}"]:
            first = last = pick(rng, at)
            while words[last + 1][2] == f"I-{kind}":  # a sentence ends with a full stop
                last += 1
            return {"x": text, "name": text[words[first][0] : words[last][1]]}, NAMES[kind]


def is_person(rng, i, ood):
    """Return a sentence with a name, and whether it is a person's: every other one is."""
    texts, answer = name(rng, (0, pick(rng, (1, 2)))[i % 2], ood)
    return texts, YES_NO[answer != "person"]


def record_with(rng, ood, field):
    """Return a record that has a field."""
    while field not in (record := table.draw_record(rng, table.categories(ood))):
        pass
    return record


def as_text(record):
    return table.to_text(record).removesuffix(" =")


def field(rng, i, ood, field, values):
    """Return a record, and the value of a field, of which all are equally likely."""
    record = record_with(rng, ood, field) | {field: values[i % len(values)]}
    return {"x": as_text(record)}, record[field]


def is_near(rng, i, ood):
    """Return a record and a place, which every other record is near."""
    record = record_with(rng, ood, "near")
    other = pick(rng, [place for place in NEAR if place != record["near"]])
    return {"x": as_text(record), "place": (record["near"], other)[i % 2]}, YES_NO[i % 2]


def description(rng, i, ood):
    text, descriptions = table.example(rng, i, ood)
    return {"x": text.removesuffix(" =")}, descriptions[0].strip()


# -- tasks

TASKS = {
    "opinion": Instructions(
        "sentiment",
        (
            "{x} Was it good or bad? It was [MASK]",
            "Tell me whether it was good or bad. {x} It was [MASK]",
            "{x} Good or bad? [MASK]",
            "{x} All in all, would you say that it was good or that it was bad? [MASK]",
        ),
        "{x} [MASK]",
        ("bad", "good"),
        partial(review, answers=("bad", "good")),
    ),
    "liked": Instructions(
        "sentiment",
        (
            "{x} Was it good? [MASK]",
            "Was it good? {x} [MASK]",
            "{x} Is it true that I liked it? [MASK]",
            "{x} Would I do it again? [MASK]",
        ),
        "{x} [MASK]",
        YES_NO,
        partial(review, answers=YES_NO[::-1]),
    ),
    "inference": Instructions(
        "inference",
        (
            "{premise} Is it true that {hypothesis|uncapitalize|unpunctuated}? [MASK]",
            "{premise} So is this true: {hypothesis|uncapitalize} [MASK]",
            "{hypothesis} Is that true, if {premise|uncapitalize} [MASK]",
            "Yes, no, or perhaps? {premise} {hypothesis} [MASK]",
        ),
        "{premise} {hypothesis} [MASK]",
        ("yes", "perhaps", "no"),
        inference,
    ),
    "entailment": Instructions(
        "inference",
        (
            "{premise} Does this mean that {hypothesis|uncapitalize|unpunctuated}? [MASK]",
            "{premise} Can you say that {hypothesis|uncapitalize|unpunctuated}? [MASK]",
            "Does one follow from the other, yes or no? {premise} {hypothesis} [MASK]",
        ),
        "{premise} {hypothesis} [MASK]",
        YES_NO,
        entailment,
    ),
    "topic": Instructions(
        "topic",
        (
            "{x} What is this about? It is about a [MASK]",
            "Tell me what this is about. {x} It is about a [MASK]",
            "{x} Is it a film, a restaurant, a hotel, a gadget or a shop? [MASK]",
            "{x} The topic is a [MASK]",
        ),
        "{x} [MASK]",
        tuple(DOMAINS),
        about,
    ),
    "about": Instructions(
        "topic",
        (
            "{x} Is this about a {topic}? [MASK]",
            "Is this about a {topic}? {x} [MASK]",
            "{x} Is the topic a {topic}, yes or no? [MASK]",
        ),
        "{x} {topic} [MASK]",
        YES_NO,
        is_about,
    ),
    "name": Instructions(
        "names",
        (
            "{x} Is {name} a person, a place or a thing? [MASK]",
            "{x} What is {name}? It is a [MASK]",
            "Tell me what {name} is. {x} It is a [MASK]",
        ),
        "{x} {name} [MASK]",
        tuple(NAMES.values()),
        name,
    ),
    "person": Instructions(
        "names",
        (
            "{x} Is {name} a person? [MASK]",
            "Is {name} a person, yes or no? {x} [MASK]",
            "{x} Is it true that {name} is a person? [MASK]",
        ),
        "{x} {name} [MASK]",
        YES_NO,
        is_person,
    ),
    "near": Instructions(
        "records",
        (
            "{x} What is it near? It is near [MASK]",
            "What is this near? {x} It is near [MASK]",
            "{x} Tell me what it is close to. [MASK]",
        ),
        "{x} [MASK]",
        NEAR,
        partial(field, field="near", values=NEAR),
    ),
    "rating": Instructions(
        "records",
        (
            "{x} How good is it? It is [MASK]",
            "What do people say of this? {x} They say that it is [MASK]",
            "{x} How is it rated? [MASK]",
        ),
        "{x} [MASK]",
        RATINGS,
        partial(field, field="rating", values=RATINGS),
    ),
    "close": Instructions(
        "records",
        (
            "{x} Is it near {place}? [MASK]",
            "Is this near {place}, yes or no? {x} [MASK]",
            "{x} Is it true that it is close to {place}? [MASK]",
        ),
        "{x} {place} [MASK]",
        YES_NO,
        is_near,
    ),
    "description": Instructions(
        "records",
        (
            "{x} Say this in a sentence or two. [MASK]",
            "Write about this. {x} [MASK]",
            "{x} Tell me about it. [MASK]",
        ),
        "{x} [MASK]",
        (),
        description,
    ),
}
