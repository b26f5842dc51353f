"""minipeft evaluate --shots: a language model classifies by prompting."""

import json

import numpy as np
import pytest

import minipeft as mp
from minipeft.prompting.calibration import calibrate, content_free

PROMPT = "--template", "{text} is [MASK]", "--words", "bad=cold", "good=warm,kind"


@pytest.fixture
def tuned(base, tmp_path):
    """A folder with an adaptation of the base that is not at its start."""
    model = mp.load(base)
    γ = mp.BitFit().attach(model)
    for p in γ.parameters():
        p.data += np.random.default_rng(0).normal(0, 0.5, p.shape)
    mp.save(γ, tmp_path / "tuned")
    return tmp_path / "tuned"


def test_the_report_has_the_accuracy_before_and_after_calibration(base, examples, json_of, tuned):
    flags = "--data", examples, "--model", base, "--adaptation", tuned, *PROMPT
    report = json_of("evaluate", "--shots", 4, "--separator", " / ", *flags, "--json")
    assert report["shots"] == 4 and report["examples"] == 116  # four are left out
    *shown, last = report["prompt"].split(" / ")
    assert last.endswith(" is [MASK]") and len(shown) == 4
    assert sorted(text.split(" is ")[1] for text in shown) == ["cold", "cold", "warm", "warm"]
    none, adapted = report["results"]
    assert none["adaptation"] is None and adapted["adaptation"] == str(tuned)
    for result in report["results"]:
        assert 0 <= result["accuracy"] <= 1 and 0 <= result["calibrated"] <= 1
    assert json_of("evaluate", "--shots", 4, "--separator", " / ", *flags, "--json") == report


def test_predictions_are_those_of_the_classifier(base, examples, json_of, tmp_path):
    out = tmp_path / "predictions.jsonl"
    flags = (
        "--data",
        examples,
        "--model",
        base,
        "--shots",
        0,
        "--predictions",
        out,
        *PROMPT[:3],
        "bad=rude",
        "good=kind",
    )
    report = json_of("evaluate", *flags, "--json")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    true = [json.loads(line)["label"] for line in examples.read_text().splitlines()]
    classifier = mp.PromptClassifier(
        mp.load(base), "{text} is [MASK]", {"bad": "rude", "good": "kind"}
    )
    assert [row["label"] for row in rows] == classifier.predict([row["text"] for row in rows])
    right = [row["label"] == y for row, y in zip(rows, true)]
    assert report["results"][0]["accuracy"] == np.mean(right)
    log_p = classifier.log_probabilities([row["text"] for row in rows])
    q = calibrate(log_p, content_free(classifier))
    right = [classifier.classes[c] == y for c, y in zip(q.argmax(1), true)]
    assert report["results"][0]["calibrated"] == np.mean(right) != report["results"][0]["accuracy"]


def test_predictions_need_no_labels(base, tmp_path, json_of):
    (tmp_path / "new.csv").write_text("text,label\na cup,\na hat,good\n")
    flags = "--data", tmp_path / "new.csv", "--predictions", tmp_path / "p.jsonl", *PROMPT
    report = json_of("evaluate", "--model", base, "--shots", 0, *flags, "--json")
    assert report["examples"] == 2 and report["results"][0]["accuracy"] in (0, 1)
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 2


def test_the_report_says_how_many_examples_the_model_has_room_for(base, tmp_path, json_of):
    texts = [f"{'cup ' * (1 + 19 * (i > 5))}{i}" for i in range(12)]
    rows = "".join(f"{text},{'good' if i % 2 else 'bad'}\n" for i, text in enumerate(texts))
    (tmp_path / "long.csv").write_text(f"text,label\n{rows}")
    flags = "--data", tmp_path / "long.csv", "--model", base, *PROMPT
    report = json_of("evaluate", "--shots", 8, *flags, "--json")
    shown = [line for line in report["prompt"].split("\n\n") if not line.endswith("[MASK]")]
    assert report["examples"] == 4 and report["fewest_shots"] < len(shown) < 8


def test_pairs_have_the_names_of_their_columns(base, tmp_path, json_of):
    path = tmp_path / "pairs.csv"
    path.write_text("one,two,label\n" + "a cup,a hat,0\nthe hat,the cup,1\n" * 3)
    report = json_of(
        *("evaluate", "--data", path, "--model", base, "--shots", 0, "--json"),
        *("--text-column", "one", "two", "--template", "{two} [MASK] {one}"),
        *("--words", "0=so", "1=not"),
    )
    assert report["prompt"] == "a hat [MASK] a cup" and report["examples"] == 6


def test_a_task_has_a_template_and_words(run, capsys):
    assert run("evaluate", "--task", "nli", "--shots", 2, "--limit", 4, "--separator", " ") == 0
    out = capsys.readouterr().out
    assert "nli: 4 examples, 2 examples in context" in out and "OOD calibrated" in out
    assert "[MASK]" in out and max(map(len, out.split("the first prompt:")[0].splitlines())) <= 80


@pytest.mark.parametrize(
    "args, code, message",
    [
        ("--shots 2", 2, "give either --data FILE or --task NAME"),
        ("--shots 2 --task nli --data two.csv", 2, "give either --data FILE or --task NAME"),
        ("", 2, "give a text or examples: --data FILE"),
        ("--template x --data two.csv", 2, "--template is for --shots: also give --shots"),
        ("--limit 3 --data two.csv", 2, "--limit is for --shots: also give --shots"),
        ("--shots -1 --data two.csv", 2, "--shots must be at least 0, not -1"),
        ("--shots 0 --limit 0 --data two.csv", 2, "--limit must be at least 1, not 0"),
        ("--shots 0 --task nli --words a=b", 2, "--words is for --data, and --task is given"),
        ("--shots 0 --data two.csv", 2, "--shots with --data needs a template and words"),
        ("--shots 0 --data two.csv --template {text}[MASK] --words 1", 2, "must be LABEL=WORD"),
        ("--shots 0 --data two.csv --template {text}[MASK] --words 1=a, 2=b", 2, "LABEL=WORD,WORD"),
        ("--shots 0 --data two.csv --template {text}[MASK] --words 1=a 1=b", 2, "'1' twice"),
        ("--shots 0 --data two.csv --template {text}[MASK] --words 1=a 3=b", 3, "the label '2'"),
        ("--shots 0 --data two.csv --template {text} --words 1=a 2=b", 2, "has no slot"),
        ("--shots 99 --data two.csv --template {text}[MASK] --words 1=a 2=b", 2, "from 0 to 30"),
        ("--shots 30 --data two.csv --template {text}[MASK] --words 1=a 2=b", 2, "no example"),
        ("--shots 0 --data one.jsonl --template {a}{b}[MASK] --words 1=a 2=b", 2, "takes a, b"),
        ("--seed 1 --data two.csv", 2, "--seed is for --shots: also give --shots"),
        ("--shots 0 --seed -1 --task nli", 2, "--seed must be at least 0, not -1"),
        ("--shots 0 --block-size 8 --task nli", 2, "--block-size is for texts"),
        ("--shots 0 --task nli --text-column a", 2, "--text-column is for --data"),
        (
            "--shots 0 --data two.csv --demonstrations two.csv",
            2,
            "--demonstrations is for examples",
        ),
        ("--shots 0 --data two.csv --predictions p.jsonl --adaptation a b", 2, "at most one"),
        ("--shots 0 --data text.txt --template {text}[MASK] --words 1=a 2=b", 3, "not hold"),
    ],
)
def test_what_does_not_fit_is_refused(refused, args, code, message):
    found, err = refused(["evaluate", *args.split()])
    assert found == code and message in " ".join(err.split())
