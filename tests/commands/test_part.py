"""FOLDER.part: one process at a time, nothing left of a failure, and --resume of a comparison."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands import compare
from minipeft.storage.part import locked_part
from minipeft.tasks.compare import Comparison
from minipeft.training.checkpoint import FILE
from minipeft.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
SLOW = """
import sys, time
from minipeft.training.trainer import Trainer
step = Trainer.step
def slow_step(self, *batch, **more):
    if self.t == 2: print("training", flush=True), time.sleep({seconds})
    return step(self, *batch, **more)
Trainer.step, sys.argv = slow_step, {args}
from minipeft.commands.cli import main
main()
"""


@pytest.fixture
def train(base, tmp_path, monkeypatch):
    """The arguments of a short training, in the current folder."""
    monkeypatch.chdir(tmp_path)
    data = str(base.parent / "world.txt")
    return ["train", "lora", "--model", str(base), "--data", data, "--steps", "4", "--out", "new"]


def start(args, seconds):
    """Return a process that runs a command, and waits for some seconds before its third step."""
    source = SLOW.format(args=["minipeft", *map(str, args)], seconds=seconds)
    env = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", source], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == b"training\n"
    return process


def test_a_folder_that_another_process_writes_is_refused_at_the_start(train, run, capsys):
    others = (
        train,
        ["compare", "--model", train[3], "--out", "new"],
        ["pretrain", "--out", "new"],
        ["convert", "decoder", "new"],
        [*train, "--resume"],
    )
    process = start([*train, "--save-steps", "1"], seconds=99)
    try:
        for args in others:
            assert run(*args) == 3, args
            assert capsys.readouterr().err == (
                "minipeft: another process is writing new: wait until it has ended, or choose "
                "another name\n"
            )
    finally:
        process.kill()
        process.communicate()
    assert os.listdir() == ["new.part"]
    assert run(*train) == 3
    assert "new.part exists: continue it with --resume" in capsys.readouterr().err
    assert run(*train, "--resume") == 0 and os.listdir() == ["new"]


def test_a_command_that_waits_for_nothing_leaves_the_other_its_result(train, run):
    process = start(train, seconds=1)
    assert run(*train) == 3
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert os.listdir() == ["new"] and Path("new", "adapter_config.json").exists()


def test_the_lock_of_a_folder_ends_with_its_block(tmp_path):
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        with locked_part(folder) as part:
            assert part.name == "b.part" and part.is_dir()
            with pytest.raises(mp.CheckpointError, match="another process is writing"):
                with locked_part(folder):
                    pass
            assert part.is_dir()
        assert not list(tmp_path.iterdir())  # also no parent that was created for it


def flock_fails(*args):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize("name, value", [("fcntl", None), ("fcntl.flock", flock_fails)])
def test_where_folders_have_no_locks_they_are_written_without(tmp_path, monkeypatch, name, value):
    monkeypatch.setattr(f"minipeft.storage.part.{name}", value)
    with locked_part(tmp_path / "a") as part, locked_part(tmp_path / "a") as same:
        assert part == same and part.is_dir()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error, code", [(MemoryError("too big"), 4), (ValueError("odd"), 2)])
def test_a_training_that_fails_in_its_first_step_leaves_nothing(
    train, run, monkeypatch, error, code
):
    def fail(self, **batch):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", fail)
        assert run(*train) == code and not os.listdir()
    assert run(*train, "--batch-size", 2) == 0 and os.listdir() == ["new"]


def test_a_training_that_was_killed_before_a_step_does_not_block(train, base, run):
    model = mp.load(base)
    lora = mp.LoRA().attach(model, np.random.default_rng(0))
    mp.Trainer(model, lora, mp.AdamW(lora.parameters())).save("new.part")
    assert (Path("new.part") / FILE).exists()
    assert run(*train) == 0 and os.listdir() == ["new"]


def test_a_folder_of_someone_else_is_left_alone(train, run, capsys):
    Path("new.part").mkdir()
    Path("new.part", "mine.txt").write_text("mine")
    for flags in ([], ["--resume"]):
        assert run(*train, *flags) == 3
        assert "new.part" in capsys.readouterr().err
    assert Path("new.part", "mine.txt").read_text() == "mine" and os.listdir() == ["new.part"]


# -- errors of the system


def test_a_full_disk_is_one_line_about_the_folder(train, run, capsys, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for args in (train, ["convert", "decoder", "new"]):
        assert run(*args) == 3 and not os.listdir()
        error = capsys.readouterr().err
        assert error == "minipeft: new can't be written: No space left on device\n"


@pytest.mark.parametrize("name", ["n" * 300, "n" * 252])
def test_a_name_that_is_too_long_is_one_line(train, run, capsys, name):
    for args in ([*train[:-1], name], ["convert", "decoder", name]):
        assert run(*args) == 3 and not os.listdir()
        error = capsys.readouterr().err
        assert f" {name}" in error and "File name too long" in error and "[Errno" not in error
        assert len(error.splitlines()) == 1


def test_a_file_in_the_way_is_named(train, run, capsys):
    Path("new.part").write_text("mine")
    for args in (train, ["convert", "decoder", "new"]):
        assert run(*args) == 3
        assert capsys.readouterr().err == "minipeft: new can't be created: new.part is a file\n"
    assert os.listdir() == ["new.part"]


# -- a comparison that was stopped


@pytest.fixture
def comparison(base, tmp_path, monkeypatch):
    """The arguments of a comparison with four training runs of each of two methods."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "plot", lambda *args: None)
    rows = [{"text": f"{'ab'[i % 2]} {i}", "label": "xy"[i % 2]} for i in range(40)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    args = ["--methods", "lora", "prefix", "--steps", "2", "--pilot-steps", "2", "--seeds", "3"]
    args += ["--lrs", "0.001", "0.01"]
    return ["compare", "--model", base, "--data", "data.jsonl", "--out", "out", *args]


def results(folder):
    """Return a comparison's report without its times, and the parameters of its adaptations."""
    report = json.loads((folder / "compare.json").read_text())
    for result in [report, *report["results"]]:
        for name in ("seconds", "seconds_per_run", "peak_bytes"):
            result.pop(name, None)
    tensors = [path.read_bytes() for path in sorted(folder.glob("*/*.safetensors"))]
    return report, tensors


@pytest.fixture
def steps(monkeypatch):
    """Count the steps of trainings; `steps.stop` sends SIGINT or SIGTERM before a step."""

    class Steps:
        count, stop, number = 0, None, signal.SIGINT

    step = Trainer.step

    def counted(self, *batch, **more):
        Steps.count += 1
        if Steps.count == Steps.stop:
            signal.raise_signal(Steps.number)
        return step(self, *batch, **more)

    monkeypatch.setattr(Trainer, "step", counted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Steps
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_comparison_that_was_stopped_is_resumed(
    comparison, run, capsys, steps, tmp_path, number, code
):
    assert run(*comparison[:6], "full", *comparison[7:]) == 0
    total, steps.count = steps.count, 0
    steps.stop, steps.number = total - 5, number  # in a run of the second method
    assert run(*comparison) == code
    printed = capsys.readouterr()
    name = signal.Signals(number).name
    assert f"stopped by {name}; to continue, repeat it with --resume" in printed.err
    assert "lora" in printed.out and not Path("out").exists()
    assert [*Path("out.part").glob("runs/*/*/run.json")]
    assert run(*comparison) == 3 and "--resume" in capsys.readouterr().err
    Path("out.part", ".prefix.abc", "new").mkdir(parents=True)  # of a save that was killed
    steps.count, steps.stop = 0, None
    assert run(*comparison, "--resume") == 0
    assert 0 < steps.count <= total - 8  # the steps of the pilots were not repeated
    assert results(tmp_path / "out") == results(tmp_path / "full")
    assert {*os.listdir("out")} == {*os.listdir("full")} and not Path("out.part").exists()


CHANGED = {
    "--steps": ("steps", ["--steps", "3"]),
    "--seeds": ("seeds", ["--seeds", "2"]),
    "--lrs": ("lrs", ["--lrs", "0.001"]),
    "--methods": ("methods", ["--methods", "lora"]),
    "--batch-size": ("batch-size", ["--batch-size", "4"]),
    "--long": ("steps", ["--long"]),
    "--pilot-steps": ("pilot-steps", ["--pilot-steps", "3"]),
    "--pool": ("pool", ["--pool", "mean"]),
    "--budget": ("budget", ["--budget", "9"]),
    "another file": ("data", []),
    "--model": ("model", ["--model", "decoder"]),
}


def test_a_comparison_is_resumed_with_the_same_settings(comparison, run, capsys, steps):
    steps.stop = 20  # after the pilots
    assert run(*comparison) == 130
    before = sorted(Path("out.part").rglob("*"))
    capsys.readouterr()
    text = Path("data.jsonl").read_text()
    for name, flags in CHANGED.values():
        Path("data.jsonl").write_text(text.replace("39", "93") if name == "data" else text)
        assert run(*comparison, *flags, "--resume") == 3
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"out.part: --{name} was " in error and "and here it is" in error
    assert sorted(Path("out.part").rglob("*")) == before


def test_a_comparison_that_fails_in_its_first_run_leaves_nothing(comparison, run, monkeypatch):
    def fail(self, *args):
        raise MemoryError

    monkeypatch.setattr(Comparison, "make_trainer", fail)
    assert run(*comparison) == 4 and os.listdir() == ["data.jsonl"]


def test_resume_needs_a_comparison_to_resume(comparison, run, capsys):
    assert run(*comparison, "--resume") == 3
    assert "nothing to resume" in capsys.readouterr().err
    assert run(*comparison[:5], "--resume") == 2
    assert "--resume continues a comparison in --out" in capsys.readouterr().err


CHANGED_IN_TRAINING = {
    "another text": ("data", []),
    "another dev text": ("dev", []),
    "--dev": ("dev", ["--dev", "data.txt"]),
    "--lr": ("lr", ["--lr", "0.1"]),
    "--steps": ("steps", ["--steps", "20"]),
    "--batch-size": ("batch-size", ["--batch-size", "3"]),
    "--patience": ("patience", ["--patience", "2"]),
}


def test_a_training_is_resumed_with_the_same_settings(
    base, run, capsys, steps, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    texts = {name: f"a short {name} text. " * 90 for name in ("data", "dev")}
    for name, text in texts.items():
        Path(f"{name}.txt").write_text(text)
    train = "train bitfit --data data.txt --dev dev.txt --out out --steps 9 --batch-size 2"
    train = [*train.split(), "--block-size", "8", "--lr-scheduler", "constant", "--model", base]
    steps.stop = 3
    assert run(*train) == 130
    before = sorted(Path("out.part").rglob("*"))
    capsys.readouterr()
    for change, (name, flags) in CHANGED_IN_TRAINING.items():
        for file, text in texts.items():
            changed = not flags and file == name
            Path(f"{file}.txt").write_text(text + "more" * changed)
        assert run(*train, *flags, "--resume") == 3, change
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"out.part: --{name} was " in error and "and here it is" in error
    assert sorted(Path("out.part").rglob("*")) == before
    for file, text in texts.items():
        Path(f"{file}.txt").write_text(text)
    assert run(*train, "--resume") == 0 and os.listdir("out").count("settings.json") == 0
