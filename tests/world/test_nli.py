"""The task `nli`, against a reading of its sentences that is written independently of it."""

import functools
import re
from collections import Counter

import numpy as np
import pytest

from minipeft.world import nli


@pytest.fixture(scope="module")
def splits():
    return nli.splits()


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [nli.document(rng) for _ in range(3000)]


NUMBERS = ["none", "one", "two", "three", "four", "five", "six"]
COLOURED = {  # beginning of a statement about a colour: is it true of this list of booleans
    r"every|all of": lambda x, m: all(x),
    r"not every|not all of": lambda x, m: not all(x),
    r"no|none of": lambda x, m: not any(x),
    r"some of|at least one": lambda x, m: any(x),
    r"most of|more than half of": lambda x, m: x.count(True) > x.count(False),
    r"fewer than half of": lambda x, m: x.count(True) < x.count(False),
    r"exactly half of": lambda x, m: x.count(True) == x.count(False) and x != [],
    r"both of": lambda x, m: x == [True, True],
    r"neither of": lambda x, m: x == [False, False],
    r"at least (two|three|four|five|six) of": lambda x, m: sum(x) >= m,
    r"at most (two|three|four|five|six) of": lambda x, m: sum(x) <= m,
    r"(?:exactly )?(two|three|four|five|six) of": lambda x, m: sum(x) == m,
}
COUNTED = {
    r"there is no \w+|\w+ (?:has|have) never seen an? \w+": lambda x, m: x == [],
    r"(?:there are|\w+ ha\w+ seen) at least (\w+) \w+": lambda x, m: len(x) >= m,
    r"(?:there are|\w+ ha\w+ seen) (\w+) \w+": lambda x, m: len(x) == m,
}
SCENES = [  # the colours of some things
    one * ["first"] + two * ["second"] + (n - one - two) * ["other"]
    for n in range(16)  # more things than in the worlds of `quantifiers`
    for one in range(n + 1)
    for two in range(n + 1 - one)
]


@functools.cache
def meaning(text):
    """The rule that reads a statement about the first or second colour, and the scenes it fits."""
    none_not = re.match(r"(there is no|\w+ ha\w+ never seen an?) .*that is (not )?(\w+)$", text)
    if none_not:
        text = f"{'every' if none_not[2] else 'no'} such thing is {none_not[3]}"
    colour = re.search("first|second", text)
    for rule, true in COLOURED.items() if colour else COUNTED.items():
        if match := re.match(rf"(?:{rule})\b", text):
            m = NUMBERS.index(match[1]) if match.lastindex else None
            scenes = (
                [thing == colour[0] if colour else None for thing in scene] for scene in SCENES
            )
            return rule, frozenset(i for i, scene in enumerate(scenes) if true(scene, m))
    raise AssertionError(f"cannot read {text!r}")


def reading(premise, hypothesis):
    """The rules that read the premise and the hypothesis, and the label, by enumerating scenes."""
    text = f"{premise} {hypothesis}".lower()
    text = re.sub("|".join(f" {place}" for place in nli.PLACES), "", text)
    text = re.sub(rf"\b({'|'.join(nli.THINGS)})(?=s?\b)", "thing", text)
    text = re.sub("|".join(seer.lower() for seer in nli.SEERS), "i have", text)
    named = [word for word in re.findall(r"\w+", text) if word in nli.COLOURS]
    for colour, name in zip(dict.fromkeys(named), ("first", "second")):
        text = re.sub(rf"\b{colour}\b", name, text)
    (*rules, rule), (*sets, hypothesis) = zip(*map(meaning, re.findall(r"\w[^.]+", text)))
    possible = frozenset.intersection(*sets)
    assert possible, premise
    if len(rules) == 2 and rules[0] in COUNTED:
        rules = rules[1:]  # the number of things says nothing about colours
    label = "neutral" if possible & hypothesis else "contradiction"
    return rules, rule, "entailment" if possible <= hypothesis else label


CONNECTIVES = {
    "entailment": "So|This means that|It is true that",
    "neutral": "Perhaps|Nobody told us whether",
    "contradiction": "It is not true that|It cannot be that",
}


def arguments(document):
    """Its pairs of premise and hypothesis, with the label that the connective stands for."""
    premise, *sentences = re.findall(r"\w[^.]+\.", document)
    for sentence in sentences:
        ((label, match),) = (
            (label, match)
            for label, connective in CONNECTIVES.items()
            if (match := re.match(rf"(?:{connective}) (.+?)(?:, perhaps not)?\.", sentence))
        )
        yield (premise.replace(" and ", ". "), f"{match[1]}."), label


@pytest.fixture(scope="module")
def argued(documents):
    return [pair for document in documents for pair in arguments(document)]


def test_labels_equal_those_by_enumerating_scenes(splits):
    for split in splits.values():
        for pair, label in split:
            assert reading(*pair)[2] == label, pair


def test_documents_reason_correctly(argued):
    for pair, label in argued:
        assert reading(*pair)[2] == label, pair
    assert min(Counter(label for _, label in argued).values()) > len(argued) / 5


def test_never_having_seen_an_apple_that_is_not_red(splits):
    not_red, none = "I have never seen an apple that is not red.", "I have never seen an apple."
    assert reading(not_red, none)[2] == "neutral" and reading(none, not_red)[2] == "entailment"
    shape = r"\w+ ha\w+ never seen an? \w+( that is not \w+)?\."
    cases = {
        (bool(p[1]), bool(h[1]), label)
        for (premise, hypothesis), label in splits["train"]
        if (p := re.fullmatch(shape, premise)) and (h := re.fullmatch(shape, hypothesis))
    }
    assert cases >= {(True, False, "neutral"), (False, True, "entailment")}


def test_labels_are_balanced(splits):
    for split in splits.values():
        counts = Counter(label for _, label in split)
        assert max(counts.values()) - min(counts.values()) <= 1 and set(counts) == set(nli.LABELS)


@pytest.mark.parametrize("parts, most", [([1], 0.38), ([0], 0.47), ([0, 1], 0.6)])
def test_a_bag_of_words_is_not_enough(splits, parts, most):
    """A ridge regression on the words of the hypothesis, of the premise, and of both."""

    def words(pair):
        return {(i, word) for i in parts for word in re.findall(r"\w+", pair[i].lower())}

    vocabulary = sorted(set().union(*(words(pair) for pair, _ in splits["train"])))

    def features(split):
        present = [words(pair) for pair, _ in splits[split]]
        x = np.array([[word in text for word in vocabulary] for text in present], float)
        return x, np.array([[label == y for y in nli.LABELS] for _, label in splits[split]])

    x, y = features("train")
    w = np.linalg.solve(x.T @ x + 10 * np.eye(len(vocabulary)), x.T @ y)
    x, y = features("test")
    assert np.mean((x @ w).argmax(1) == y.argmax(1)) < most


def scenes(text):
    """The pairs of things with where they are, or who has seen them, that a text names."""
    things, places = re.findall(rf"\b({'|'.join(nli.THINGS)})s?\b", text), nli.PLACES + nli.SEERS
    return {(thing, place) for thing in things for place in places if place in text}


def test_scenes_and_pairs_of_quantifiers_of_ood_are_new(splits, documents, argued):
    known = [pair for split in ("train", "dev", "test") for pair, _ in splits[split]]
    old_scenes = set().union(*map(scenes, [*documents, *map(" ".join, known)]))
    readings = [reading(*pair) for pair in known + [pair for pair, _ in argued]]
    old_rules = {(one, rule) for rules, rule, _ in readings for one in rules}
    for pair, _ in splits["ood"]:
        assert scenes(" ".join(pair)) and not scenes(" ".join(pair)) & old_scenes, pair
        rules, rule, _ = reading(*pair)
        assert any((one, rule) not in old_rules for one in rules), pair
