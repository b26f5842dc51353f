"""Truncation and padding that another program left in tokenizer.json change no command."""

import json
import shutil

import pytest

import minipeft as mp


@pytest.fixture
def folder(base, tmp_path):
    """A folder of the base model with truncation and padding in its tokenizer.json."""
    shutil.copytree(base, tmp_path / "m")
    tokenizer = mp.load_tokenizer(base)
    tokenizer.enable_truncation(20, stride=3, direction="left")
    tokenizer.enable_padding(length=30, pad_id=7)
    tokenizer.save(str(tmp_path / "m/tokenizer.json"))
    return tmp_path / "m"


def test_state_of_a_tokenizer_changes_no_command(folder, base, examples, tmp_path, json_of):
    text = tmp_path / "text.txt"
    text.write_text((base.parent / "world.txt").read_text()[:3000])
    train = "train", "lora", "--steps", 1, "--batch-size", 2
    prompt = "The soup was cold, so she sent it back. " * 4
    for n, command in enumerate(
        (
            ["evaluate", "--data", text, "--block-size", 16],
            [*train, "--data", text, "--block-size", 16],
            [*train, "--data", examples],
            ["generate", "--prompt", prompt, "--max-new-tokens", 3],
        )
    ):
        reports = []
        for model in (base, folder):
            out = ["--out", tmp_path / f"{n} {model.name}"] if "--steps" in command else []
            reports.append(json_of(*command, *out, "--model", model))
            reports[-1] = {k: x for k, x in reports[-1].items() if k not in ("seconds", "out")}
        assert reports[0] == reports[1]
    json_of("convert", folder, tmp_path / "n")
    settings = json.loads((tmp_path / "n/tokenizer.json").read_text())
    assert settings == json.loads((base / "tokenizer.json").read_text())
    assert settings["truncation"] is None and settings["padding"] is None
