"""The laws of three tasks of the small world: inference, table-to-text and style."""

import functools
import re
from collections import Counter

import numpy as np
import pytest
from minipeft.data.files.metrics import bleu

from minipeft.world import nli, style, table

TASKS = {"nli": nli, "table": table, "style": style}


@pytest.fixture(scope="module")
def tasks():
    return {name: task.splits() for name, task in TASKS.items()}


@pytest.fixture(scope="module")
def documents():
    return {name: sample(task, 3000) for name, task in TASKS.items()}


def sample(task, count, seed=0):
    rng = np.random.default_rng(seed)
    return [task.document(rng) for _ in range(count)]


def texts(examples):
    """All that is written in examples of any of the tasks."""
    for given, wanted in examples:
        yield from [given] if isinstance(given, str) else given
        yield from wanted if isinstance(wanted, list) else []


def everything(tasks, documents, name):
    return [*documents[name], *(t for split in tasks[name].values() for t in texts(split))]


# Laws of all three


@pytest.mark.parametrize("name", TASKS)
def test_splits_are_a_function_of_the_seed(tasks, name):
    assert TASKS[name].splits() == tasks[name]
    assert TASKS[name].splits(seed=1)["test"] != tasks[name]["test"]


@pytest.mark.parametrize("name", TASKS)
def test_documents_are_a_function_of_the_generator(name):
    assert sample(TASKS[name], 20, 1) == sample(TASKS[name], 20, 1) != sample(TASKS[name], 20, 2)


@pytest.mark.parametrize("name", TASKS)
def test_sizes(tasks, name):
    sizes = (2000, 500, 1000, 1000) if name == "nli" else (2000, 200, 300, 300)
    found = tasks[name]
    assert {k: len(v) for k, v in found.items()} == dict(
        zip(("train", "dev", "test", "ood"), sizes)
    )


@pytest.mark.parametrize("name", TASKS)
def test_nothing_is_read_twice(tasks, name):
    given = [given for split in tasks[name].values() for given, _ in split]
    assert len(set(given)) == len(given)


@pytest.mark.parametrize("name", TASKS)
def test_text_is_well_formed(tasks, documents, name):
    for text in everything(tasks, documents, name):
        assert re.fullmatch(r" ?\w[A-Za-z ,.!:|=]+[.=d]", text) and "  " not in text, text
        assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text
        assert not re.search(r"[.!] [a-z]", text), text
        for article, word in re.findall(r"\b(an?) (\w+)", text, re.IGNORECASE):
            vowel = word[0].lower() in "aeiou" or word == "honest"
            assert (article.lower() == "an") == vowel, text


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_in_words_of_the_documents(tasks, documents, name):
    known = set(re.findall(r"\w+|\S", " ".join(documents[name]).lower()))
    read = [text for split in tasks[name].values() for text in texts(split)]
    assert set(re.findall(r"\w+|\S", " ".join(read).lower())) <= known


# Inference


NUMBERS = ["none", "one", "two", "three", "four", "five", "six"]
COLOURED = {  # how a statement of a colour begins: is it true of a list of yes and no
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
HEAPS = [
    one * ["first"] + two * ["second"] + (n - one - two) * ["other"]
    for n in range(16)  # more things than the task's own worlds have
    for one in range(n + 1)
    for two in range(n + 1 - one)
]


@functools.cache
def meaning(text):
    """The rule that reads a statement, of the first or second colour, and the heaps it fits."""
    none_not = re.match(r"(there is no|\w+ ha\w+ never seen an?) .*that is (not )?(\w+)$", text)
    if none_not:
        text = f"{'every' if none_not[2] else 'no'} such thing is {none_not[3]}"
    colour = re.search("first|second", text)
    for rule, true in COLOURED.items() if colour else COUNTED.items():
        if found := re.match(rf"(?:{rule})\b", text):
            m = NUMBERS.index(found[1]) if found.lastindex else None
            heaps = ([thing == colour[0] if colour else None for thing in heap] for heap in HEAPS)
            return rule, frozenset(i for i, heap in enumerate(heaps) if true(heap, m))
    raise AssertionError(f"cannot read {text!r}")


def reading(premise, hypothesis):
    """The rules that read the premise and the hypothesis, and the label by enumerating heaps."""
    text = f"{premise} {hypothesis}".lower()
    text = re.sub("|".join(f" {place}" for place in nli.PLACES), "", text)
    text = re.sub(rf"\b({'|'.join(nli.THINGS)})(?=s?\b)", "thing", text)
    text = re.sub("|".join(seer.lower() for seer in nli.SEERS), "i have", text)
    named = [word for word in re.findall(r"\w+", text) if word in nli.COLOURS]
    for colour, name in zip(dict.fromkeys(named), ("first", "second")):
        text = re.sub(rf"\b{colour}\b", name, text)
    (*rules, rule), (*sets, wanted) = zip(*map(meaning, re.findall(r"\w[^.]+", text)))
    possible = frozenset.intersection(*sets)
    assert possible, premise
    if len(rules) == 2 and rules[0] in COUNTED:
        rules = rules[1:]  # how many there are is but the setting
    label = "neutral" if possible & wanted else "contradiction"
    return rules, rule, "entailment" if possible <= wanted else label


CONNECTIVES = {
    "entailment": "So|This means that|It is true that",
    "neutral": "Perhaps|Nobody told us whether",
    "contradiction": "It is not true that|It cannot be that",
}


def arguments(document):
    """Its pairs of premise and hypothesis, with the label that the words between them mean."""
    premise, *said = re.findall(r"\w[^.]+\.", document)
    for sentence in said:
        ((label, found),) = (
            (label, found)
            for label, connective in CONNECTIVES.items()
            if (found := re.match(rf"(?:{connective}) (.+?)(?:, perhaps not)?\.", sentence))
        )
        yield (premise.replace(" and ", ". "), f"{found[1]}."), label


@pytest.fixture(scope="module")
def argued(documents):
    return [pair for document in documents["nli"] for pair in arguments(document)]


def test_labels_are_those_of_enumerating_heaps(tasks):
    for split in tasks["nli"].values():
        for pair, label in split:
            assert reading(*pair)[2] == label, pair


def test_documents_argue_well(argued):
    for pair, label in argued:
        assert reading(*pair)[2] == label, pair
    assert min(Counter(label for _, label in argued).values()) > len(argued) / 5


def test_never_having_seen_an_apple_that_is_not_red(tasks):
    unlike, none = "I have never seen an apple that is not red.", "I have never seen an apple."
    assert reading(unlike, none)[2] == "neutral" and reading(none, unlike)[2] == "entailment"
    shape = r"\w+ ha\w+ never seen an? \w+( that is not \w+)?\."
    cases = {
        (bool(p[1]), bool(h[1]), label)
        for (premise, hypothesis), label in tasks["nli"]["train"]
        if (p := re.fullmatch(shape, premise)) and (h := re.fullmatch(shape, hypothesis))
    }
    assert cases >= {(True, False, "neutral"), (False, True, "entailment")}


def test_labels_are_balanced(tasks):
    for split in tasks["nli"].values():
        counts = Counter(label for _, label in split)
        assert max(counts.values()) - min(counts.values()) <= 1 and set(counts) == set(nli.LABELS)


@pytest.mark.parametrize("parts, most", [([1], 0.38), ([0], 0.47), ([0, 1], 0.6)])
def test_the_words_alone_do_not_tell_the_label(tasks, parts, most):
    """Regression on which words occur, in the hypothesis, the premise and both: far below 1."""

    def found(pair):
        return {(i, word) for i in parts for word in re.findall(r"\w+", pair[i].lower())}

    vocabulary = sorted(set().union(*(found(pair) for pair, _ in tasks["nli"]["train"])))

    def table_of(split):
        here = [found(pair) for pair, _ in tasks["nli"][split]]
        labels = [[label == one for one in nli.LABELS] for _, label in tasks["nli"][split]]
        return np.array([[word in h for word in vocabulary] for h in here], float), np.array(labels)

    x, y = table_of("train")
    w = np.linalg.solve(x.T @ x + 10 * np.eye(len(vocabulary)), x.T @ y)
    x, y = table_of("test")
    assert np.mean((x @ w).argmax(1) == y.argmax(1)) < most


def scenes(text):
    """The things and where they are, or who has seen them, that a text names."""
    things, places = re.findall(rf"\b({'|'.join(nli.THINGS)})s?\b", text), nli.PLACES + nli.SEERS
    return {(thing, place) for thing in things for place in places if place in text}


def test_held_out_scenes_and_quantifiers_are_new(tasks, documents, argued):
    known = [pair for split in ("train", "dev", "test") for pair, _ in tasks["nli"][split]]
    old_scenes = set().union(*map(scenes, [*documents["nli"], *map(" ".join, known)]))
    readings = [reading(*pair) for pair in known + [pair for pair, _ in argued]]
    old_rules = {(one, rule) for rules, rule, _ in readings for one in rules}
    for pair, _ in tasks["nli"]["ood"]:
        assert scenes(" ".join(pair)) and not scenes(" ".join(pair)) & old_scenes, pair
        rules, rule, _ = reading(*pair)
        assert any((one, rule) not in old_rules for one in rules), pair


# Table-to-text


def test_a_record_is_read_as_it_was_written(tasks):
    for split in tasks["table"].values():
        for given, _ in split:
            record = table.read(given)
            assert table.written(record) == given
            assert [*record][:3] == ["name", "kind", "place"] and 5 <= len(record) <= 6


def test_each_of_three_references_says_all_that_the_record_holds(tasks):
    for split in tasks["table"].values():
        for given, wanted in split:
            assert len(set(wanted)) == 3
            for text in wanted:
                assert text.startswith(" ") and text.endswith(".") and text.count(".") <= 2
                values = (value.lower() for value in table.read(given).values())
                assert all(value in text.lower() for value in values), (given, text)


def fields(examples, *names):
    return {
        record[name] for given, _ in examples for record in [table.read(given)] for name in names
    }


def test_held_out_categories_are_trained_on_in_no_part(tasks, documents):
    trained = tasks["table"]["train"] + tasks["table"]["dev"] + tasks["table"]["test"]
    held_out = tasks["table"]["ood"]
    assert not fields(trained, "name", "kind") & fields(held_out, "name", "kind")
    some, others = ({f for given, _ in x for f in table.read(given)} for x in (trained, held_out))
    assert others - some and others & some - {"name", "kind", "place"}
    shown = [(text.split(" =")[0], None) for text in documents["table"] if " =" in text]
    assert len(shown) > 500 and not fields(shown, "kind") & fields(held_out, "kind")
    assert all(kind in " ".join(documents["table"]) for kind in fields(held_out, "kind"))


def test_the_ceiling_is_what_another_description_scores(tasks):
    for split in ("test", "ood"):
        pairs = tasks["table"][split]
        assert 0.7 < table.ceiling(pairs) == table.ceiling(pairs) < 0.8
        others = [wanted for _, wanted in pairs[1:] + pairs[:1]]
        assert bleu([wanted[0] for _, wanted in pairs], others) < 0.3


# Style


def user_of(i):
    return style.THE_USERS[i % style.USERS]


def test_users_differ():
    assert len(style.THE_USERS) == style.USERS == 100
    assert len({user[:4] for user in style.THE_USERS}) == 100


def test_what_follows_is_a_function_of_the_user_and_the_beginning(tasks):
    for split in tasks["style"].values():
        for i, (given, wanted) in enumerate(split):
            assert wanted == [style.answer(user_of(i), given)]
            assert re.fullmatch(r" [^.]+\.", wanted[0]) and len(wanted[0].split()) <= 8
    given = tasks["style"]["test"][0][0]
    assert len({style.answer(user, given) for user in style.THE_USERS}) > 10


def test_praise_and_complaint_follow_taste():
    user = style.THE_USERS[0]
    wish = user.wishes[1]  # hot or cold
    other = style.OPPOSITES[wish]
    praise, complaint = (
        f" {phrase.format(very=user.very, wish=wish)}." for phrase in (user.praise, user.complaint)
    )
    assert praise != complaint
    for said, right in ((wish, praise), (other, complaint)):
        assert style.answer(user, f"The soup was {said}, and") == right
    for denial in style.DENIALS:
        assert style.answer(user, f"The soup was {denial} {wish}, and") == complaint
        assert style.answer(user, f"On Monday the bath was {denial} {other}, and") == praise


def things(given):
    known = {thing for things in style.TASTES.values() for thing in things}
    (thing,) = set(re.findall(r"\w+", given)) & known
    return thing


def test_a_user_writes_of_new_things_out_of_domain(tasks):
    written = [set() for _ in range(100)]
    for split in ("train", "dev", "test"):
        for i, (given, _) in enumerate(tasks["style"][split]):
            written[i % 100].add(things(given))
    for i, (given, _) in enumerate(tasks["style"]["ood"]):
        assert things(given) not in written[i % 100]


def stated(given):
    """The quality that the beginning comes to say."""
    denied = re.search(r"not|far from|anything but", given)
    word = given.split()[-2].rstrip(",")
    return style.OPPOSITES[word] if denied else word


@pytest.mark.parametrize("split", ["test", "ood"])
def test_only_who_knows_the_user_knows_what_follows(tasks, split):
    """The majority, the best without the user, and what a user has said of the same quality."""
    pairs = [(given, wanted) for given, (wanted,) in tasks["style"][split]]
    answers = [wanted for _, wanted in pairs]
    majority = Counter(w for _, (w,) in tasks["style"]["train"]).most_common(1)[0][0]
    blind = np.mean([style.blind(given) == wanted for given, wanted in pairs])
    assert np.mean([majority == wanted for wanted in answers]) <= blind < 0.3
    said = {
        (i % 100, stated(given)): wanted
        for i, (given, (wanted,)) in enumerate(tasks["style"]["train"])
    }
    keys = [(i % 100, stated(given)) for i, (given, _) in enumerate(pairs)]
    known = [said[key] == wanted for key, wanted in zip(keys, answers) if key in said]
    assert all(known) and len(known) > 0.7 * len(pairs)
