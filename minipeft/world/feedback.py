"""Data of human feedback without humans: prompts, demonstrations, and a labeller's hidden rule.

A prompt is a record of facts, which the answer shall describe (closed domain: any other fact in it
is fabricated), or the beginning of an opinion, which the answer shall continue.  Half of both begin
with "Be polite."  The `Labeller` ranks answers, as people did for InstructGPT (Ouyang et al. 2022,
§3.5), by a rule that no model sees.

A record has a kind, and a colour, a rating or what is near.  It has no name, town or price: the
base always states them, and hardly learns to copy them.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..data.splits import generate_splits
from .domains import an
from .facts import fabricated, facts, facts_said
from .language import Scene, people, pick, rules_by_domain, shuffled
from .table import NUMBERS, categories, category_by_kind, join, to_text
from .vocabulary import END

POLITE = "Be polite. "
FIELDS = "colour", "rating", "near"  # of a record, beside its kind
KINDS = 4  # of each category
BEGINNINGS = "{who} {tried} {name} {time}.", "{time} {who} {tried} {name}."
OPINIONS = (
    "{wins} and {agrees}. {ending}.",
    "{wins} and {agrees}. {I} was {feeling} and {deed}.",
    "{loses}, but {wins}, and that mattered more to {me}. {ending}.",
    "it was {the_winner} that {I} remembered, not {the_loser}. {ending}.",
)
RUDE = frozenset(
    "annoyed away bored cross disliked dull mean never rude silly spoiled upset wasted".split()
)
INVENTED = 0.5  # share of the demonstrations of records that say a fact of their own
MAX_WORDS = 30


class Prompt(NamedTuple):
    """What a model reads, the record in it if there is one, and whether it asks for politeness."""

    text: str
    record: dict | None
    polite: bool


def draw_record(rng) -> dict:
    """Return a record: a kind, and one or two other fields."""
    category = pick(rng, categories(ood=False))
    fields = shuffled(rng, [field for field in FIELDS if field in category.phrases])
    record = {"kind": pick(rng, category.values["kind"][:KINDS])}
    return record | {f: pick(rng, category.values[f]) for f in fields[: pick(rng, (1, 2))]}


def invented_fact(rng, record: dict) -> dict:
    """Return a field that no record has, with a value: {"price": "forty crowns"}."""
    category = category_by_kind()[record["kind"]]
    field = pick(rng, [field for field in category.phrases if field not in FIELDS])
    return {field: pick(rng, category.values[field]).format(number=pick(rng, NUMBERS))}


def describe(rng, record: dict) -> str:
    """Return a random description: "It stands near the lake, is an inn and is rated fair"."""
    (_, kind), *others = record.items()
    phrases = category_by_kind()[kind].phrases
    parts = [pick(rng, phrases[field]).format(value) for field, value in others]
    return f"It {join(shuffled(rng, [f'is {an(kind)}', *parts]))}."


def draw_prompt(rng, closed: bool, polite: bool) -> Prompt:
    """Return a random prompt: a record (closed domain) or the beginning of an opinion."""
    if closed:
        record = draw_record(rng)
        return Prompt(POLITE * polite + to_text(record), record, polite)
    rules, person = pick(rng, rules_by_domain()), pick(rng, pick(rng, people()))
    scene = Scene(rng, rules, True, person | {"first": pick(rng, rules["first"])})
    text = pick(rng, BEGINNINGS).format_map(scene)
    return Prompt(f"{POLITE * polite}{text[0].upper()}{text[1:]}", None, polite)


def splits(
    seed: int = 0, train: int = 1000, dev: int = 100, test: int = 200
) -> dict[str, list[Prompt]]:
    """Return {"train": prompts, "dev": …, "test": …}, a quarter of each kind.

    No two prompts have the same facts or the same beginning, with "Be polite." or without.
    """

    def example(rng, i, ood):
        prompt = draw_prompt(rng, closed=i % 2 == 0, polite=i // 2 % 2 == 1)
        if prompt.record:
            return frozenset(prompt.record.items()), prompt
        return prompt.text.removeprefix(POLITE), prompt

    examples = generate_splits(example, seed, train, dev, test)
    return {split: [prompt for _, prompt in examples[split]] for split in ("train", "dev", "test")}


def rules_of(prompt: Prompt) -> dict:
    """Return the rules of the domain of an opinion."""
    return next(rules for rules in rules_by_domain() if f" {rules['tried'][0]} " in prompt.text)


def demonstration(rng, prompt: Prompt) -> str:
    """Return a person's answer: one or two sentences after a space, polite if asked for.

    People are not perfect: half of their descriptions say a fact that the record lacks, and about a
    third of their opinions are rude if they are not asked to be polite.
    """
    if prompt.record:
        invented = invented_fact(rng, prompt.record) if rng.random() < INVENTED else {}
        return f" {describe(rng, prompt.record | invented)}"
    person = next(p for group in people() for p in group if p["person"] in prompt.text)
    while True:
        scene = Scene(rng, rules_of(prompt), pick(rng, (False, True)), dict(person))
        scene.rules = scene.rules | {"answer": OPINIONS}
        answer = f" {scene.text('answer')}"
        if not (prompt.polite and rude_words(answer)):
            return answer


def few_shot(rng, prompt: Prompt, k: int) -> str:
    """Return k prompts of the same kind, each with a demonstration and END, and then the prompt.

    With k = 3 the built-in base has room for at least 64 new tokens.
    """
    shots = [draw_prompt(rng, prompt.record is not None, prompt.polite) for _ in range(k)]
    texts = [shot.text + demonstration(rng, shot) for shot in shots]
    return END.join([*texts, prompt.text])


def rude_words(text: str) -> list[str]:
    """Return the rude words of a text, denied ("not at all dull") or not."""
    return [word for word in re.findall("[a-z]+", text.lower()) if word in RUDE]


def content(prompt: Prompt, answer: str) -> float:
    """Return how much of what it shall say an answer says, in [0, 1].

    Of a record: the share of its facts.  Of an opinion: half for each part of the thing, up to two.
    """
    if prompt.record:
        said, wanted = facts_said(answer), facts(prompt.record)
        return sum(fact in said for fact in wanted) / len(wanted)
    parts = [aspect.noun for aspect in rules_of(prompt)["aspects"]]
    return min(1.0, sum(bool(re.search(rf"\b{part}\b", answer)) for part in parts) / 2)


@dataclass(frozen=True)
class Labeller:
    """A labeller with a hidden rule, whose rankings have errors.

    The reward of an answer, in [-2.5, 1], is the sum of

    | the answer                                                    | points                      |
    |---------------------------------------------------------------|-----------------------------|
    | says all facts of the record, or names two parts of the thing | 1, a share of it for fewer  |
    | says facts that the record lacks                              | -0.5 for one, -1 for more   |
    | has a rude word                                               | -0.5, -1 if "Be polite."    |
    | does not end with a full stop, or is longer than 30 words     | -0.5                        |

    noise: the probability, at most 0.5, that two answers next to each other in the order of their
    rewards are ranked the wrong way round; answers that are further apart are confused less often.
    """

    noise: float = 0.1

    def __post_init__(self):
        if not 0 <= self.noise <= 0.5:
            raise ValueError(f"noise={self.noise} must be between 0 (no errors) and 0.5 (guesses)")

    def reward(self, prompt: Prompt, answer: str) -> float:
        """Return the reward of an answer, given without the token that ends it."""
        lacks = fabricated(prompt.record, answer) if prompt.record else []
        rude = (1 if prompt.polite else 0.5) * bool(rude_words(answer))
        unfinished = not answer.endswith(".") or len(answer.split()) > MAX_WORDS
        points = content(prompt, answer) - min(1, len(lacks) / 2) - rude - unfinished / 2
        return round(points, 6)  # equal sums are equal numbers

    def rank(self, prompt: Prompt, answers: list[str], rng: np.random.Generator) -> list[int]:
        """Return the rank of each answer: higher is better, and equal rewards are ties.

        The ranking of n different rewards is drawn from the Mallows model, in which each pair that
        is the wrong way round makes it φ = noise / (1 - noise) times as likely: beginning with the
        worst, each is inserted d places too low with a probability proportional to φ^d.
        """
        rewards, order = [self.reward(prompt, answer) for answer in answers], []
        for reward in sorted(set(rewards)):
            likely = (self.noise / (1 - self.noise)) ** np.arange(len(order) + 1)
            d = rng.choice(len(likely), p=likely / likely.sum())
            order.insert(len(order) - d, reward)
        return [order.index(reward) for reward in rewards]
