"""An empty text is continued from the token that begins a text, if the model names one."""

import json
import shutil

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.nn import replace

CONFIG = mp.Config(vocabulary=17, width=16, layers=2, heads=2, length=40)
MODEL = mp.Decoder(CONFIG, np.random.default_rng(0))
MODEL = MODEL.map(lambda t: mp.Tensor(t.data * 9))


@pytest.mark.parametrize("settings", ["folder_settings", "generation_config"])
@pytest.mark.parametrize("empty", [[[], []], np.zeros((2, 0), int)])
def test_empty_texts_start_from_bos(settings, empty):
    model = replace(MODEL, **{settings: {"bos_token_id": 7}})
    new = mp.generate(model, empty, mask=empty, max_new_tokens=5)
    np.testing.assert_array_equal(new, mp.generate(MODEL, [[7], [7]], max_new_tokens=5))
    assert not np.array_equal(new, mp.generate(MODEL, [[0], [0]], max_new_tokens=5))


def test_empty_texts_without_bos_are_refused():
    with pytest.raises(ValueError, match=r"bos_token_id in config\.json: start each from an id"):
        mp.generate(MODEL, [[]])
    with pytest.raises(ValueError, match="neither of them 0"):
        mp.generate(MODEL, np.zeros((0, 0), int))
    with pytest.raises(ValueError, match="row 1 of the batch has no real token"):
        mp.generate(MODEL, [[1, 2], [1, 2]], mask=[[1, 1], [0, 0]])


@pytest.fixture
def folder(base, tmp_path):
    """Return a copy of the model whose tokenizer has no <|endoftext|>."""
    copy = shutil.copytree(base, tmp_path / "model")
    tokenizer = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text(tokenizer.replace("<|endoftext|>", "<start>"))
    return copy


def test_an_empty_prompt_of_the_command_line_starts_from_bos(folder, run, capsys, monkeypatch):
    from minipeft.commands import generate

    read = []
    monkeypatch.setattr(
        generate, "generate", lambda model, ids, *γ, **o: (read.append(ids), np.array([[9]]))[1]
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"bos_token_id": 5}))
    assert run("generate", "--model", folder, "--prompt", "", "--json") == 0
    assert read == [[[5]]]
    text = mp.load_tokenizer(folder).decode([9])
    assert json.loads(capsys.readouterr().out) == {"prompt": "", "text": text, "new_tokens": 1}


def test_an_empty_prompt_without_bos_is_an_error(folder, run, capsys):
    assert run("generate", "--model", folder, "--prompt", "") == 2
    assert "--prompt is empty, and the model names no token that begins" in capsys.readouterr().err
