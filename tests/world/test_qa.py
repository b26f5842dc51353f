"""The task `qa`: questions about one of two things that a text describes."""

import re

import pytest

import minipeft as mp
from minipeft.tasks.builtin import built_in
from minipeft.world import qa
from minipeft.world.table import all_categories, categories

NAMES = re.compile("|".join(name for c in all_categories() for name in c.names), re.IGNORECASE)


@pytest.fixture(scope="module")
def splits():
    """Return {split: [(text, {name: description}, question, answer), ...]}."""
    splits = qa.splits(train=600)
    return {s: [(text, *parts(text), *answer) for text, answer in splits[s]] for s in splits}


def parts(text):
    """Return ({name: description}, question); a sentence that begins with "It" goes on."""
    *sentences, question = re.split(r"(?<=\.) ", text)
    described = {}
    for sentence in sentences:
        if not sentence.startswith("It "):
            (name,) = NAMES.findall(sentence)
        described[name] = f"{described.get(name, '')} {sentence}"
    return described, question


def named(question):
    """Return the name in a question."""
    (name,) = NAMES.findall(question)
    return name.lower()


def test_the_answer_is_a_span_of_the_description_of_what_the_question_names(splits):
    elsewhere = 0
    for examples in splits.values():
        for text, described, question, answer in examples:
            described = {name.lower(): description for name, description in described.items()}
            asked = described.pop(named(question))
            (other,) = described.values()
            assert answer.startswith(" ") and answer in asked, text
            elsewhere += bool(re.search(rf"{answer}\b", other))
    assert 0 < elsewhere < 0.05 * sum(map(len, splits.values()))  # such as two kinds of "thirty"


def forms(examples):
    """Return the questions with a gap for the name."""
    return {NAMES.sub("X", question) for _, _, question, _ in examples}


def test_whole_domains_are_held_out(splits):
    known = [example for name in ("train", "dev", "test") for example in splits[name]]
    names = {named(question) for _, _, question, _ in known}
    assert not names & {named(question) for _, _, question, _ in splits["ood"]}
    for category in categories(ood=True):
        assert not names & {name.lower() for name in category.names}
    assert "What is X about?" in forms(splits["ood"]) - forms(known)
    assert "How is X rated?" in forms(splits["ood"]) & forms(known)


def test_scores_are_those_of_squad(monkeypatch):
    few = qa.splits(train=4, dev=4, test=4)
    monkeypatch.setattr(qa, "splits", lambda: few)
    task = built_in("qa", mp.load(), mp.load_tokenizer())
    assert [*task.metrics] == ["F1", "exact match"] and task.ceiling == {"test": 1, "ood": 1}
    labels = [[" the lake"], [" fish soup"]]
    scores = {
        name: metric([" Lake.", " cold soup"], labels) for name, metric in task.metrics.items()
    }
    assert scores == {"F1": 0.75, "exact match": 0.5}
