"""The world's tasks in words: examples, answers, and templates that hold what they need."""

from collections import Counter

import pytest

from minipeft.tasks.instructions import prompted_tasks, without_instructions
from minipeft.world import instructions, table
from minipeft.world.domains import read_rules

TASKS = instructions.TASKS


def test_every_task_is_prompted_with_and_without_instructions():
    splits = prompted_tasks(train=1, dev=1, test=6)
    for name, task in splits["test"].items():
        plain = without_instructions(splits["test"])[name]
        assert len(task.examples) == 6 and plain.examples == task.examples
        for prompted, templates in (task, TASKS[name].templates), (plain, (TASKS[name].plain,)):
            assert tuple(prompt.template.text for prompt in prompted.prompts) == templates
    assert [*splits["train"]] == [*TASKS]


def test_clusters_have_several_tasks_and_templates():
    clusters = Counter(task.cluster for task in TASKS.values())
    assert len(clusters) == 5 and min(clusters.values()) >= 2
    assert all(len({*task.templates}) >= 3 for task in TASKS.values())


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.options])
def test_every_answer_is_about_equally_frequent(name):
    task = TASKS[name]
    counts = Counter(x["answer"] for x in task.splits(train=1, dev=1, test=105)["test"])
    assert counts.keys() == {*task.options}
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_answers_are_true():
    of = lambda name: TASKS[name].splits(train=1, dev=1, test=60)["ood"]
    for x in of("close"):
        assert (f"near: {x['place']}" in x["x"]) == (x["answer"] == "yes")
    for x in of("rating"):
        assert f"rating: {x['answer']}" in x["x"].split(" | ")
    for x in of("name"):
        assert x["name"] in x["x"]
    for x in of("person"):
        assert (x["name"] in (*instructions.tags.PEOPLE,)) == (x["answer"] == "yes")


def test_the_values_of_records_are_those_of_the_world():
    values = read_rules(table.SHARED.split("\n\n")[0])
    assert (instructions.NEAR, instructions.RATINGS) == (values["near"], values["rating"])
