"""minipeft search: its table, its JSON, and what it refuses."""

import json

import pytest

from minipeft.commands import search
from minipeft.world import sentiment

OWN = "--template", "{text} It was [MASK].", "--words", "good=fine", "bad=dull"


@pytest.fixture
def small(monkeypatch, base):
    """The built-in task with few examples, and a small base; its flags."""
    splits = sentiment.splits
    monkeypatch.setattr(sentiment, "splits", lambda: splits(train=12, dev=4, test=6))
    monkeypatch.setattr(search, "DOCUMENTS", 60)
    return "search", "--model", base, "--budget", 132, "--length", 2


def test_the_built_in_task_compares_five_prompts(small, run, capsys):
    assert run(*small) == 0
    table, notes = capsys.readouterr()
    kinds = "manual", "paraphrased", "mined", "searched", "soft"
    assert all(f"{kind}: test" in notes for kind in kinds)
    for kind in kinds:
        row, *_ = (line for line in table.splitlines() if line.startswith(f"{kind} "))
        assert row.count("(") == 2  # the intervals of test and OOD
    assert "manual: {x} All in all I [MASK] it. (0: disliked, 1: liked)" in table
    assert "soft: {x} [P]*2 [MASK] (0: disliked, 1: liked); nearest words: " in table
    assert "passes over a text to find the prompt, at most 132.\n" in table


def test_examples_of_ones_own(examples, base, run, capsys, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The soup was cold. All in all it was dull. We ate. All in all it was fine.")
    options = "--model", base, "--budget", 700, "--seed", 3, "--corpus", corpus, "--json"
    more = "--paraphrases", "{text} In short, [MASK]."
    assert run("search", "--data", examples, *OWN, *more, *options) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["examples"] == {"train": 84, "test": 24, "dev": 12} and report["budget"] == 700
    found = {result["kind"]: result for result in report["results"]}
    assert found["mined"]["template"] == "{text} All in all it was [MASK]"
    assert found["paraphrased"]["template"] == "{text} In short, [MASK]."
    assert all(result["words"] == {"good": ["fine"], "bad": ["dull"]} for result in found.values())
    assert found["manual"]["readings"] == 0 and found["paraphrased"]["readings"] == 12
    assert all(result["readings"] <= 700 for result in found.values())


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--task", "nli"), "--task is a built-in task, --data examples of your own: give one"),
        (("--words",), "--data needs a template and words for the labels"),
        (("--words", "good=fine", "poor=dull"), "has the label 'bad', and --words has good, poor"),
        (("--template", "{text} It was good."), "has no slot for the answer"),
        (("--budget", 99), "a budget of 99 readings is too small"),
    ],
)
def test_what_does_not_fit_is_refused(examples, base, run, capsys, flags, message):
    assert run("search", "--data", examples, "--model", base, *OWN, *flags) in (2, 3)
    assert message in capsys.readouterr().err


def test_flags_of_own_examples_need_them(run, capsys):
    assert run("search", "--paraphrases", "{x} I [MASK]") == 2
    assert "--paraphrases is for examples of your own" in capsys.readouterr().err
