"""What one command saves is opened by every command that takes such a thing.

A command that does not take it answers with one line.
"""

import contextlib
import io
import json
import shutil

import pytest

import minipeft as mp
from minipeft.commands import cli, compare
from minipeft.tasks.classify import Classify
from minipeft.tasks.tag import Tag
from minipeft.tasks.write import Imitate
from minipeft.world import pretrain

TASKS = {  # built-in task, and a small one in its place: its kind and the label of example i
    "sentiment": (Classify, lambda i: i % 2),
    "tags": (Tag, lambda i: [(0, 1, "ab"[i % 2])]),
    "style": (Imitate, lambda i: [f" {i % 2}."]),
}
SHORT = "--methods", "lora", "--steps", "2", "--seeds", "1", "--lrs", "1e-3"
THINGS = {  # folder: kind of thing
    "pretrained": "model",
    "converted": "model",
    "merged": "classifier",
    "text": "adaptation",
    "text64": "adaptation",
    "style/lora/002": "adaptation",
    "critic": "adaptation of a classifier",
    "data/lora": "adaptation of a classifier",
    "sentiment/lora": "adaptation of a classifier",
    "tags/lora": "adaptation of a tagger",
    "sentiment": "comparison",
    "style/lora": "comparison",
}
MODELS = {"model", "classifier"}
ADAPTATIONS = {"adaptation", "adaptation of a classifier", "adaptation of a tagger"}
COMMANDS = {  # command, with X for the thing: the kinds that it takes
    "info X": MODELS | ADAPTATIONS,
    "info X --model base": ADAPTATIONS,
    "layers --model X": MODELS,
    "convert X new": MODELS | ADAPTATIONS,
    "convert base new --adaptation X": ADAPTATIONS,
    "generate --prompt a --max-new-tokens 1 --model X": {"model"},
    "generate --prompt a --max-new-tokens 1 --model base --adaptation X": {"adaptation"},
    "evaluate --data world.txt --model X": {"model"},
    "evaluate --data world.txt --model base --adaptation X": {"adaptation"},
    "evaluate --data data.jsonl --model X": {"classifier"},
    "evaluate --data data.jsonl --model base --adaptation X": {"adaptation of a classifier"},
    "train lora --steps 1 --out new --data world.txt --model X": {"model"},
    "train lora --steps 1 --out new --data data.jsonl --model X": MODELS,
    "train lora --steps 1 --out X --data data.jsonl --model base --resume": set(),
    f"compare {' '.join(SHORT)} --data data.jsonl --model X": MODELS,
}


def run(line):
    """Run a command in this folder; return its exit code and what it prints to stderr."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        with pytest.raises(SystemExit) as stop:
            cli.main(line.split())
    return stop.value.code or 0, errors.getvalue()


def small_task(name, base, tokenizer):
    """Return a task of the kind of a built-in one."""
    (kind, label), splits = TASKS[name], {"train": range(60), "dev": range(20), "test": range(20)}
    splits = {s: [(f"{'ab'[i % 2]} {i}", label(i)) for i in rows] for s, rows in splits.items()}
    return kind(name, splits, base, tokenizer)


@pytest.fixture(scope="module")
def things(base, tmp_path_factory):
    """A folder with everything that commands save, for a small base or a pretrained one."""
    folder = tmp_path_factory.mktemp("things")
    shutil.copytree(base, folder / "base")
    text = (base.parent / "world.txt").read_text()
    (folder / "world.txt").write_text(text[:9000])
    rows = [{"text": f"{'ab'[i % 2]} {i}", "label": str(i % 2)} for i in range(40)]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    small = {"DOCUMENTS": 400, "HELD_OUT": 4, "BATCH_TOKENS": 768, "SIZES": {"1.1M": (16, 2)}}
    train = "train lora --model base --steps 2 --data"
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "built_in", small_task)
        patch.setattr(compare, "plot", lambda *args: None)
        patch.setattr(Imitate, "users", 3)
        for name, value in small.items():
            patch.setattr(pretrain, name, value)
        for line in (
            "pretrain --out pretrained --steps 1",
            "convert base converted",
            f"{train} world.txt --out text",
            f"{train} data.jsonl --out critic",
            *(
                f"compare --model base --task {name} --out {name} {' '.join(SHORT)}"
                for name in TASKS
            ),
            f"compare --model base --data data.jsonl --out data {' '.join(SHORT)}",
            "convert base merged --adaptation critic",
            "convert text text64 --model base --dtype float64",
        ):
            code, errors = run(line)
            assert code == 0, (line, errors)
    return folder


@pytest.mark.parametrize("name, kind", THINGS.items())
def test_each_thing_is_opened_by_each_command_that_takes_its_kind(things, monkeypatch, name, kind):
    monkeypatch.chdir(things)
    before = sorted(things.iterdir())
    for command, kinds in COMMANDS.items():
        code, errors = run(command.replace("X", name))
        shutil.rmtree(things / "new", ignore_errors=True)
        assert (code == 0) == (kind in kinds), (command, errors)
        assert code in (0, 2, 3) and (code == 0 or len(errors.splitlines()) == 1), (command, errors)
        assert sorted(things.iterdir()) == before


def test_a_comparison_and_a_training_name_the_classes(things):
    for name in ("critic", "data/lora", "sentiment/lora"):
        assert json.loads((things / name / "labels.json").read_text()) == ["0", "1"]
    assert mp.load_adaptation(things / "style/lora/002", mp.load(things / "base"))
