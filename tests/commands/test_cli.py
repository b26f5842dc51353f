"""The command line as a program: exit codes, version, completion, signals, imports."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands import COMMANDS

ROOT = Path(__file__).parents[2]


def test_a_loss_that_is_not_finite_exits_with_5(base, tmp_path, capsys, run):
    args = ["--data", base.parent / "world.txt", "--out", tmp_path / "new", "--steps", 20]
    assert run("train", "full", "--model", base, *args, "--lr", "1e30") == 5
    assert "not finite" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_out_of_memory_exits_with_4(base, capsys, monkeypatch, run):
    monkeypatch.setattr("minipeft.hf.load", lambda folder: np.zeros(1 << 50))
    assert run("layers") == 4 and "out of memory: Unable to allocate" in capsys.readouterr().err


def test_version_prints_the_version(capsys, run):
    assert run("--version") == 0 and capsys.readouterr().out == f"minipeft {mp.__version__}\n"


def test_a_shell_completes_commands_methods_and_flags(capsys, run):
    assert run("--tyro-print-completion", "bash") == 0
    script = capsys.readouterr().out
    assert all(w in script for w in ("minipeft", "evaluate", "lora", "--bottleneck", "convert"))
    check = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert check.returncode == 0, check.stderr


def run_python(source, **options):
    """Return the finished process that ran this program."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", source], env=env, stderr=subprocess.PIPE, **options
    )


@pytest.mark.parametrize("args", [["layers"], ["layers", "--json"]])
def test_a_closed_pipe_is_quiet(args):
    read, write = os.pipe()
    os.close(read)
    process = run_python(f"from minipeft.commands.cli import main; main({args})", stdout=write)
    os.close(write)
    assert process.returncode == 141 and not process.stderr


STOPPED = """
import os, signal, sys
from minipeft.training.trainer import Trainer
step = Trainer.step
def step_and_stop(self, **batch):
    if self.t == 2: os.kill(os.getpid(), signal.{name})
    return step(self, **batch)
Trainer.step, sys.argv = step_and_stop, {args}
from minipeft.commands.cli import main
main()
"""


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_resumed_training_ends_with_the_same_bits(base, tmp_path, name, code, run):
    text = str(base.parent / "world.txt")
    args = ["train", "lora", "--model", str(base), "--data", text, "--steps", "5", "--out"]
    stopped, full = str(tmp_path / "stopped"), str(tmp_path / "full")
    process = run_python(STOPPED.format(name=name, args=["minipeft", *args, stopped]))
    assert process.returncode == code
    assert name.encode() in process.stderr and b"--resume" in process.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["stopped.part"]
    assert run(*args, stopped) == 3
    assert run(*args, stopped, "--resume") == 0 == run(*args, full)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "stopped"]
    model = mp.load(base)
    γ, other = (mp.load_adaptation(folder, model).parameters() for folder in (stopped, full))
    assert all(np.array_equal(p.data, q.data) for p, q in zip(γ, other, strict=True))
    assert len(Path(stopped, "metrics.jsonl").read_text().splitlines()) == 5
    assert run(*args, str(tmp_path / "new"), "--resume") == 3


def imports(source):
    """Return the names of the modules that this program imports, directly or through others."""
    program = f"import atexit, sys; atexit.register(lambda: print('\\n', *sys.modules)); {source}"
    process = run_python(program, stdout=subprocess.PIPE, text=True)
    assert process.returncode == 0, process.stderr
    return set(process.stdout.splitlines()[-1].split())


def test_the_library_imports_nothing_that_only_commands_need():
    unneeded = {"rich", "tyro", "matplotlib", "minipeft.world", "minipeft.commands"}
    assert not unneeded & imports("import minipeft")


def test_help_imports_no_command_and_a_command_no_other():
    main = "from minipeft.commands.cli import main; main(['{}'])"
    commands = {f"minipeft.commands.{name}" for name in COMMANDS}
    assert not (commands | {"rich", "tyro"}) & imports(main.format("--help"))
    assert commands & imports(main.format("info")) == {"minipeft.commands.info"}
