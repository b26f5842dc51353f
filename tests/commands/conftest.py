import json
import shutil

import numpy as np
import pytest

import minipeft as mp
from minipeft.commands import common


@pytest.fixture(autouse=True)
def width_from_environment(monkeypatch):
    """Give consoles 80 columns, or those that a test sets; they have read COLUMNS before."""
    monkeypatch.delenv("COLUMNS", raising=False)
    for console in (common.stdout, common.stderr):
        monkeypatch.setattr(console, "_width", None)


@pytest.fixture
def faulty(base, tmp_path, monkeypatch):
    """A folder, the current one, of files and folders with something wrong in them."""
    monkeypatch.chdir(tmp_path)
    line = '{"text": "x", "label": 1}\n'
    files = {"bad.jsonl": line + "{", "one.jsonl": line * 30, "few.jsonl": line * 2}
    for name, text in (files | {"text.txt": "a short text. " * 9, "empty.txt": " "}).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "two.csv").write_text("text,label\n" + "x,1\ny,2\n" * 15)
    (tmp_path / "other.csv").write_text("text,label\nx,z\n")
    (tmp_path / "lines.txt").write_text(line * 30)
    (tmp_path / "table.xlsx").write_bytes(b"PK")
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
def refused(faulty, base, run, capsys):
    """refused(args): the exit code and stderr, if nothing is printed to stdout and no file made."""

    def call(args):
        before = sorted(p.name for p in faulty.iterdir())
        has_model = "--model" in args or args[0] in ("verify", "compair", "info", "convert")
        code = run(*args, *([] if has_model else ["--model", base]))
        printed = capsys.readouterr()
        assert not printed.out and sorted(p.name for p in faulty.iterdir()) == before
        return code, printed.err

    return call


@pytest.fixture
def json_of(run, capsys):
    """json_of("info", folder): the JSON that a command prints."""

    def call(*args):
        assert run(*args, "--json") == 0
        return json.loads(capsys.readouterr().out)

    return call
