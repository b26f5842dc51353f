"""A save is atomic: it replaces an earlier save completely or not at all, and nothing else."""

from pathlib import Path

import pytest

from minipeft.hf import CheckpointError, save
from tests.support.families import attached
from tests.support.folders import GPT2, contents


def test_a_save_replaces_all_files_of_an_earlier_one(tmp_path):
    save(attached("encoded prefix", GPT2), tmp_path / "runs/a")
    save(attached("lora", GPT2), tmp_path / "runs/a")
    names = {"adapter_config.json", "adapter_model.safetensors"}
    assert {p.name for p in (tmp_path / "runs/a").iterdir()} == names
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["chain", "lora"])
def test_the_same_adaptation_gives_the_same_bytes(tmp_path, name):
    for i in range(8):
        save(attached(name, GPT2), tmp_path / f"{i}")
        assert contents(tmp_path / f"{i}") == contents(tmp_path / "0")


def test_other_folders_are_not_replaced(tmp_path):
    save(GPT2, tmp_path / "model")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/thesis.txt").write_text("three years")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.json").write_text("{}")
    (tmp_path / "file").write_text("")
    save(attached("lora", GPT2), tmp_path / "mine")
    (tmp_path / "mine/notes.txt").write_text("three more")
    before = contents(tmp_path)
    for name in ("model", "notes", "config", "file", "mine"):
        with pytest.raises(CheckpointError, match="save elsewhere|save to a folder"):
            save(attached("lora", GPT2), tmp_path / name)
    with pytest.raises(CheckpointError, match="save elsewhere"):
        save(GPT2, tmp_path / "config")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("call", ["write_bytes", "rename", "mkdir"])
def test_if_a_save_fails_the_earlier_one_stays(tmp_path, monkeypatch, call, n):
    """Call n of a method of Path fails, where two folders cannot exchange their names."""
    monkeypatch.setattr("minipeft.storage.folders.exchange_names", lambda a, b: False)
    save(attached("lora", GPT2), tmp_path / "a")
    before, calls, works = contents(tmp_path), [], getattr(Path, call)

    def fails(self, *args, **options):
        calls.append(self)
        if len(calls) == n + 1:
            raise OSError("no space left on device")
        return works(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, fails)
        try:
            save(attached("encoded prefix", GPT2), tmp_path / "a")
        except OSError:
            assert contents(tmp_path) == before
        else:
            assert len(calls) <= n and contents(tmp_path) != before
