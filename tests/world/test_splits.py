"""Laws of the data of all tasks."""

import re

import numpy as np
import pytest

from minipeft.world import nli, qa, sentiment, style, summary, table, tags, topic

TASKS = {
    "sentiment": sentiment,
    "nli": nli,
    "topic": topic,
    "tags": tags,
    "table": table,
    "qa": qa,
    "summary": summary,
    "style": style,
}
WITH_DOCUMENTS = {name: TASKS[name] for name in ("nli", "table", "style")}
tasks = pytest.mark.parametrize("name", TASKS)
tasks_with_documents = pytest.mark.parametrize("name", WITH_DOCUMENTS)


def sample(task, count, seed=0):
    rng = np.random.default_rng(seed)
    return [task.document(rng) for _ in range(count)]


@pytest.fixture(scope="module")
def splits():
    return {name: task.splits() for name, task in TASKS.items()}


@pytest.fixture(scope="module")
def documents():
    return {name: sample(task, 3000) for name, task in WITH_DOCUMENTS.items()}


def texts(splits):
    """All texts of the examples: inputs, and references where there are any."""
    for examples in splits.values():
        for text, label in examples:
            yield from [text] if isinstance(text, str) else text
            yield from label if isinstance(label, list) else []


@tasks
def test_splits_are_a_function_of_the_seed(splits, name):
    assert TASKS[name].splits() == splits[name]
    assert TASKS[name].splits(train=100, seed=1)["test"] != splits[name]["test"]


@tasks
def test_less_training_is_the_beginning_of_more(splits, name):
    less = TASKS[name].splits(train=100)
    assert less == splits[name] | {"train": splits[name]["train"][:100]}


@tasks
def test_sizes(splits, name):
    classes = name in ("sentiment", "nli", "topic", "tags")
    sizes = [2000, 500, 1000, 1000] if classes else [2000, 200, 300, 300]
    assert [len(splits[name][s]) for s in ("train", "dev", "test", "ood")] == sizes


@tasks
def test_no_text_is_in_two_examples(splits, name):
    inputs = [text for examples in splits[name].values() for text, _ in examples]
    assert len(set(inputs)) == len(inputs)


@tasks_with_documents
def test_documents_are_a_function_of_the_generator(name):
    task = TASKS[name]
    assert sample(task, 20, 1) == sample(task, 20, 1) != sample(task, 20, 2)


@tasks_with_documents
def test_text_is_well_formed(splits, documents, name):
    for text in [*documents[name], *texts(splits[name])]:
        assert re.fullmatch(r" ?\w[A-Za-z ,.!:|=]+[.=d]", text) and "  " not in text, text
        assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text
        assert not re.search(r"[.!] [a-z]", text), text
        for article, word in re.findall(r"\b(an?) (\w+)", text, re.IGNORECASE):
            vowel = word[0].lower() in "aeiou" or word == "honest"
            assert (article.lower() == "an") == vowel, text


@tasks_with_documents
def test_examples_use_the_words_of_the_documents(splits, documents, name):
    known = set(re.findall(r"\w+|\S", " ".join(documents[name]).lower()))
    used = set(re.findall(r"\w+|\S", " ".join(texts(splits[name])).lower()))
    assert used <= known
