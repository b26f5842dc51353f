"""The command line: how it refuses, explains itself, is stopped, and exits."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minipeft as mp

ROOT = Path(__file__).parents[2]
TEXT = ["--data", "text.txt", "--out", "new"]
USAGE = {
    "an unknown method to compare": (
        ["compare", "--methods", "lorra"],
        "no method 'lorra'; there is probe",
    ),
    "an unknown field": (["train", "prefix", *TEXT, "--lenght", "3"], "--lenght"),
    "a field of another kind": (["train", "prefix", *TEXT, "--length", "abc"], "--length"),
    "a field out of range": (["train", "prefix", *TEXT, "--length", "0"], "length=0 must be"),
    "words that are no token ids": (["train", "prefix", *TEXT, "--words", "red"], "--words"),
    "an unknown command": (["compair"], "compair"),
    "flags that are missing": (["train", "lora"], "--data"),
}
ASKED = {
    "a pattern that matches nothing": (
        ["train", "prefix", *TEXT, "--targets", "atn$"],
        "no layer matches 'atn$'; the model has tokens",
    ),
    "a pattern that is none": (
        ["train", "lora", *TEXT, "--targets", "attn["],
        "targets='attn[' is no pattern",
    ),
    "a pattern for layers without weights": (
        ["train", "lora", *TEXT, "--targets", "attn$"],
        "no weight matrix of its own; there is one at tokens, positions, blocks.N.attn.q",
    ),
    "a probe without labels": (["train", "probe", *TEXT], "--data examples with labels"),
    "a prompt that leaves no room": (
        ["train", "prompt", *TEXT, "--length", "99"],
        "--passage 64: that takes 163 positions, 99 of them for what",
    ),
    "a prefix that is too long": (
        ["train", "prefix", *TEXT, "--length", "500"],
        "a prefix of 500 starts from",
    ),
    "no rate": (["train", "lora", *TEXT, "--rate", "nan"], "--rate nan"),
    "an endless rate": (["train", "lora", *TEXT, "--rate", "inf"], "--rate inf"),
    "no steps": (["train", "lora", *TEXT, "--steps", "0"], "--steps 0: it is at least 1"),
    "no batch": (["train", "lora", *TEXT, "--batch", "0"], "--batch 0: it is at least 1"),
    "a warmup below 0": (["train", "lora", *TEXT, "--warmup", "-1"], "--warmup -1"),
    "a seed below 0": (["train", "lora", *TEXT, "--seed", "-1"], "--seed -1"),
    "no tokens": (["generate", "--prompt", "x", "--tokens", "0"], "--tokens 0: it is at least 1"),
    "too many tokens": (
        ["generate", "--prompt", "word " * 99, "--tokens", "9"],
        "; the model has 128",
    ),
    "no temperature": (["generate", "--prompt", "x", "--temperature", "nan"], "--temperature nan"),
    "another code": (["generate", "--prompt", "caf\udce9"], "--prompt: this is no text"),
    "no draws": (["verify", "--draws", "0"], "--draws 0: it is at least 1"),
    "labels without a classifier": (["evaluate", "--data", "one.jsonl"], "by --adaptation"),
    "a prompt that leaves no room for a text with a label": (
        ["train", "prompt", "--length", "33", "--data", "two.csv", "--out", "new"],
        "a whole text: that takes 129 positions, 33 of them",
    ),
    "many tasks at once": (["train", "multitask", *TEXT, "--tasks", "3"], "is a bank of 3, and"),
    "an adaptation merged into another": (
        ["convert", "whole", "new", "--adaptation", "whole"],
        "minipeft convert MODEL new --adaptation whole",
    ),
    "a base for a model": (["convert", "decoder", "new", "--model", "encoder"], "holds none"),
    "a model checked against another": (["info", "encoder", "--model", "decoder"], "holds none"),
    "predictions of a text": (
        ["evaluate", "--data", "text.txt", "--predictions", "new"],
        "--predictions takes examples",
    ),
}
BAD = {
    "a file that is not there": (["compare", "--data", "none.jsonl"], "none.jsonl: no such file"),
    "a line that is no JSON": (["compare", "--data", "bad.jsonl"], "bad.jsonl:2: not JSON"),
    "one label alone": (["compare", "--data", "one.jsonl"], "every example is "),
    "too few examples": (["compare", "--data", "few.jsonl"], "2 examples are too few"),
    "too few to train on": (
        ["train", "lora", "--data", "few.jsonl", "--out", "new"],
        "few.jsonl: 2 examples are too few",
    ),
    "a model that is not there": (["layers", "--model", "none"], "none"),
    "an empty text": (["train", "lora", "--data", "empty.txt", "--out", "new"], "file is empty"),
    "a text that is too short": (["train", "lora", *TEXT], "too few for one passage of 64"),
    "a folder that is taken": (
        ["train", "lora", "--data", "text.txt", "--out", "taken"],
        "there already",
    ),
    "a folder in a file": (
        ["train", "lora", "--data", "text.txt", "--out", "text.txt/new"],
        "text.txt is no folder that can be written to",
    ),
    "a truncated adaptation": (["generate", "--prompt", "x", "--adaptation", "cut"], "safetensors"),
    "an adaptation without labels": (
        ["evaluate", "--data", "one.jsonl", "--adaptation", "cut"],
        "cut is no classifier's: it has no labels.json",
    ),
    "generating with a classifier": (
        ["generate", "--prompt", "x", "--adaptation", "critic"],
        "critic gives labels to texts",
    ),
    "labels that are none": (
        ["evaluate", "--data", "one.jsonl", "--adaptation", "critic"],
        "labels.json must hold a list of names",
    ),
    "a folder of nothing": (["info", "taken"], "config.json: no such file; the folder has nothing"),
    "a folder of a pickle": (["info", "pickle"], "pickles may run any code and are never opened"),
    "a truncated folder to tell of": (["info", "cut"], "is no whole safetensors file"),
    "a folder to convert that is not there": (
        ["convert", "none", "new"],
        "there is no folder none",
    ),
    "a folder to convert that is cut": (["convert", "cut", "new"], "is no whole safetensors file"),
    "an adaptation of another base": (["info", "whole", "--model", "encoder"], "another base"),
    "an adaptation to convert, of another base": (["convert", "whole", "new"], "another base"),
    "a folder that is no earlier save": (
        ["convert", "decoder", "critic"],
        "critic has labels.json: only a folder of model.safetensors",
    ),
    "no configuration": (["layers", "--config", "none.toml"], "none.toml: no such file"),
    "a configuration that is no TOML": (["layers", "--config", "text.txt"], "text.txt: not TOML"),
}
CONFIGS = {
    "steps = 'many'": "run.toml: steps = 'many' must be a whole number",
    "steps = true": "run.toml: steps = True must be a whole number",
    "rate = []": "run.toml: rate = [] must be a number",
    "json = 1": "run.toml: json = 1 must be true or false",
    "data = 3": "run.toml: data = 3 must be a text in quotes",
    "schedule = 'linar'": "schedule = 'linar' must be one of linear, cosine, constant",
    "stepz = 3": "run.toml: no flag is 'stepz'; did you mean 'steps'? there is method, data, out",
    "text_colum = 'x'": "did you mean 'text-column'?",
    "config = 'x'": "no flag is 'config'",
    "method = 'lora'": "run.toml: method = 'lora' must be a table of its fields",
    "[lora]\nrnak = 3": "run.toml: lora: no flag is 'rnak'; did you mean 'rank'? there is rank, ",
    "[lora]\nrank = 'x'": "run.toml: lora: rank = 'x' must be a whole number",
    "[lora]\nrank = 0": "LoRA: rank=0 must be a whole number from 1",
    "[lorra]\nrank = 3": "no flag is 'lorra'; did you mean 'lora'?",
    "lora = 3": "run.toml: lora must be a table of fields, not 3",
    "[lora]\n[prefix]": "run.toml: a command takes one method, not prefix and lora",
    "[prefix]\nwords = ['a']": "run.toml: prefix: words = ['a'] must be a list",
}


@pytest.fixture
def place(base, tmp_path, monkeypatch):
    """A folder of files with something wrong in them."""
    monkeypatch.chdir(tmp_path)
    line = '{"text": "x", "label": 1}\n'
    files = {"bad.jsonl": line + "{", "one.jsonl": line * 30, "few.jsonl": line * 2}
    for name, text in (files | {"text.txt": "a short text. " * 9, "empty.txt": " "}).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "two.csv").write_text("text,label\n" + "x,1\ny,2\n" * 15)
    (tmp_path / "taken").mkdir()
    (tmp_path / "critic").mkdir()
    (tmp_path / "critic" / "labels.json").write_text("[1]")
    mp.save(mp.LoRA().attach(mp.load(base), np.random.default_rng(0)), tmp_path / "cut")
    shutil.copytree(tmp_path / "cut", tmp_path / "whole")
    (tmp_path / "pickle").mkdir()
    shutil.copy(base / "config.json", tmp_path / "pickle")
    (tmp_path / "pickle" / "pytorch_model.bin").write_bytes(b"")
    tensors = tmp_path / "cut" / "adapter_model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:200])
    return tmp_path


@pytest.fixture
def refused(place, base, run, capsys):
    """refused(args): the exit code, and what stands on stderr; nothing else is said or left."""

    def call(args):
        there = sorted(p.name for p in place.iterdir())
        alone = "--model" in args or args[0] in ("verify", "compair", "info", "convert")
        of = [] if alone else ["--model", base]
        code, printed = run(*args, *of), capsys.readouterr()
        assert not printed.out and sorted(p.name for p in place.iterdir()) == there
        return code, printed.err

    return call


@pytest.mark.parametrize("args, message", USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_exits_with_2_and_names_the_flag(refused, args, message):
    code, said = refused(args)
    assert code == 2 and message in said


@pytest.mark.parametrize("args, message", ASKED.values(), ids=ASKED.keys())
def test_what_is_asked_in_vain_exits_with_2_and_one_line(refused, args, message):
    code, said = refused(args)
    assert code == 2 and message in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("args, message", BAD.values(), ids=BAD.keys())
def test_bad_input_exits_with_3_and_one_line(refused, args, message):
    code, said = refused(args)
    assert code == 3 and message in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("text, message", CONFIGS.items())
def test_a_slip_in_a_configuration_names_the_file_and_the_key(place, refused, text, message):
    (place / "run.toml").write_text(text)
    code, said = refused(["train", "--config", "run.toml", *TEXT])
    assert code == 2 and message in said and len(said.splitlines()) == 1


def test_a_configuration_holds_flags_of_any_command(place, base, capsys, run):
    (place / "run.toml").write_text(f'model = "{base}"\nmethod = "lora"\njson = true\n')
    assert run("layers", "--config", "run.toml") == 0 and capsys.readouterr().out[0] == "["
    text = base.parent / "world.txt"
    (place / "run.toml").write_text(f'adaptation = ["one", "two"]\ndata = "{text}"\n')
    assert run("evaluate", "--config", "run.toml", "--model", base) == 3
    assert "there is no folder one" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_exits_with_5(base, tmp_path, capsys, run):
    args = ["--data", base.parent / "world.txt", "--out", tmp_path / "own", "--steps", 20]
    assert run("train", "full", "--model", base, *args, "--rate", "1e30") == 5
    assert "not finite" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_no_memory_exits_with_4(base, capsys, monkeypatch, run):
    monkeypatch.setattr("minipeft.hf.load", lambda folder: np.zeros(1 << 50))
    assert run("layers") == 4 and "out of memory: Unable to allocate" in capsys.readouterr().err


PLACED = {  # what is told by where it stands, as help has it
    ("train", "method"): "{",
    ("info", "folder"): "[FOLDER]",
    ("convert", "source"): "SOURCE OUT",
    ("convert", "out"): "SOURCE OUT",
}


@pytest.mark.parametrize(
    "command", ["compare", "train", "evaluate", "generate", "layers", "info", "convert"]
)
def test_help_names_every_flag(capsys, monkeypatch, run, command):
    from minipeft.cli import COMMANDS

    monkeypatch.setenv("COLUMNS", "80")
    assert run(command, "--help") == 0
    shown = capsys.readouterr().out
    for name in COMMANDS[command].__dataclass_fields__:
        assert PLACED.get((command, name), f"--{name.replace('_', '-')} ") in shown


@pytest.mark.parametrize("method", mp.METHODS)
def test_help_of_a_method_names_its_fields(capsys, run, method):
    assert run("train", method, "--help") == 0
    shown = capsys.readouterr().out
    fields = mp.METHODS[method].__dataclass_fields__
    assert all(f"-{name.replace('_', '-')} " in shown for name in fields)


def test_the_version_is_told(capsys, run):
    assert run("--version") == 0 and capsys.readouterr().out == f"minipeft {mp.__version__}\n"


def test_a_shell_completes_commands_methods_and_flags(capsys, run):
    assert run("--tyro-print-completion", "bash") == 0
    script = capsys.readouterr().out
    assert all(w in script for w in ("minipeft", "evaluate", "lora", "--bottleneck", "convert"))
    check_ids = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert check_ids.returncode == 0, check_ids.stderr


def program(source, **how):
    """What became of a process that runs this."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", source], env=env, stderr=subprocess.PIPE, **how)


@pytest.mark.parametrize("args", [["layers"], ["layers", "--json"]])
def test_a_closed_pipe_is_quiet(args):
    read, write = os.pipe()
    os.close(read)
    done = program(f"from minipeft.cli import main; main({args})", stdout=write)
    os.close(write)
    assert done.returncode == 141 and not done.stderr


KILLED = """
import os, signal, sys
from minipeft.training.trainer import Trainer
step = Trainer.step
def killed(self, *batch):
    if self.t == 2: os.kill(os.getpid(), signal.{how})
    return step(self, *batch)
Trainer.step, sys.argv = killed, {args}
from minipeft.cli import main
main()
"""


@pytest.mark.parametrize("how, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_training_goes_on_and_ends_as_if_it_was_not(base, tmp_path, how, code, run):
    text = str(base.parent / "world.txt")
    args = ["train", "lora", "--model", str(base), "--data", text, "--steps", "5", "--out"]
    stopped, whole = str(tmp_path / "stopped"), str(tmp_path / "whole")
    done = program(KILLED.format(how=how, args=["minipeft", *args, stopped]))
    assert done.returncode == code and how.encode() in done.stderr and b"--resume" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["stopped.part"]
    assert run(*args, stopped) == 3
    assert run(*args, stopped, "--resume") == 0 == run(*args, whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stopped", "whole"]
    model = mp.load(base)
    one, other = (mp.load_adaptation(folder, model).parameters() for folder in (stopped, whole))
    assert all(np.array_equal(p.data, q.data) for p, q in zip(one, other, strict=True))
    assert len(Path(stopped, "metrics.jsonl").read_text().splitlines()) == 5
    assert run(*args, str(tmp_path / "new"), "--resume") == 3
