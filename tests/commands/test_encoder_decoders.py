"""train, generate, evaluate and compare with an encoder–decoder as the base model."""

import json

import numpy as np
import pytest

import minipeft as mp
from minipeft.world.vocabulary import for_seq2seq, train_tokenizer


@pytest.fixture(scope="module")
def seq2seq(tmp_path_factory):
    """A folder with a small T5."""
    words = train_tokenizer([f"the soup was hot and cold {i} good bad" for i in range(60)], 320)
    tokenizer, folder = for_seq2seq(words), tmp_path_factory.mktemp("models") / "t5"
    config = mp.T5Config(
        tokenizer.get_vocab_size(), 16, layers=1, decoder_layers=1, heads=2, length=64
    )
    mp.save(mp.EncoderDecoder(config, np.random.default_rng(0)), folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A file of texts, and of what is written for them."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {"text": f"the soup {i} was {('hot', 'cold')[i % 2]}", "label": ("good", "bad")[i % 2]}
        for i in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, seq2seq):
    """A folder with an adaptation of it, with random parameters."""
    model, rng = mp.load(seq2seq), np.random.default_rng(0)
    lora, folder = mp.LoRA().attach(model, rng), tmp_path_factory.mktemp("out") / "lora"
    for p in lora.parameters():
        p.data += rng.normal(0, 0.5, p.shape)
    mp.save(lora, folder)
    return folder


def test_train_says_the_loss_before_and_after(json_of, seq2seq, pairs, tmp_path):
    flags = "--steps", 30, "--lr", 0.01, "--warmup-steps", 3, "--test", pairs
    args = "train", "full", "--model", seq2seq, "--data", pairs, "--out", tmp_path / "full"
    report = json_of(*args, *flags)
    assert report["loss"] < report["base_loss"] / 2
    assert report["test_loss"] < report["test_base_loss"] / 2 and report["truncated"] == 0


def test_evaluate_has_loss_and_exact_matches(json_of, seq2seq, pairs, trained, tmp_path):
    out = tmp_path / "written.jsonl"
    flags = "--data", pairs, "--model", seq2seq, "--adaptation", trained, "--predictions", out
    report = json_of("evaluate", *flags)
    base, adapted = report["results"]
    assert base["adaptation"] is None and report["examples"] == 30
    assert adapted["loss"] != base["loss"]
    written = [json.loads(line) for line in out.read_text().splitlines()]
    given = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert [row["text"] for row in written] == [row["text"] for row in given]
    right = np.mean([a["label"] == b["label"] for a, b in zip(written, given)])
    assert adapted["exact_match"] == pytest.approx(right)


def test_generate_prints_what_is_written(run, capsys, seq2seq, trained):
    prompt = "the soup 3 was cold"
    args = "generate", "--prompt", prompt, "--model", seq2seq, "--min-new-tokens", 4
    assert run(*args, "--adaptation", trained, "--max-new-tokens", 5) == 0
    printed = capsys.readouterr().out
    assert prompt not in printed and printed.strip()
    assert run(*args, "--adaptation", trained, "--max-new-tokens", 5, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["text"] == printed.rstrip("\n") and report["prompt"] == prompt


def test_compare_writes_the_labels(json_of, seq2seq, pairs):
    flags = "--steps", 2, "--pilot-steps", 0, "--seeds", 1, "--methods", "lora", "prompt"
    report = json_of("compare", "--model", seq2seq, "--data", pairs, *flags)
    assert report["metric"] == "accuracy" and report["methods"] == ["lora", "prompt"]
    assert [*report["baselines"]] == ["majority class", "base"]


def test_methods_without_layers_are_left_out(capsys, run, seq2seq, pairs):
    """T5 has no biases."""
    flags = "--steps", 1, "--pilot-steps", 0, "--seeds", 1, "--json"
    assert run("compare", "--model", seq2seq, "--data", pairs, *flags) == 0
    printed = capsys.readouterr()
    methods = json.loads(printed.out)["methods"]
    assert "bitfit" not in methods and {"prompt", "prefix", "lora", "full"} <= {*methods}
    assert "left out, since the model has no layers for it: bitfit" in printed.err


def test_compare_scores_other_texts_by_bleu(json_of, seq2seq, tmp_path):
    rows = [{"text": f"soup {i}", "label": f"the soup {i} was hot"} for i in range(30)]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = "--steps", 1, "--pilot-steps", 0, "--seeds", 1, "--methods", "lora"
    assert json_of("compare", "--model", seq2seq, "--data", path, *flags)["metric"] == "BLEU"


REFUSED = {
    "a text": ("train lora --out new --data world.txt", "writes a text for a text: use a decoder"),
    "a probe": ("train probe --out new --data pairs", "a probe is for a head"),
    "a pool": ("train lora --out new --data pairs --pool mean", "--pool is for a head"),
    "a pool of a comparison": ("compare --pool mean", "--pool is for a head"),
    "tags": ("compare --task tags", "the task tags is not for an encoder-decoder"),
    "probes": ("compare --data pairs --methods probe", "can't be learned by probe"),
    "the loss of a text": ("evaluate --data world.txt", "use a decoder, or examples"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_for_an_encoder_decoder(
    name, run, capsys, seq2seq, pairs, base, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command, message = REFUSED[name]
    files = {"world.txt": base.parent / "world.txt", "pairs": pairs}
    args = [files.get(word, word) for word in command.split()]
    assert run(*args, "--model", seq2seq) == (3 if name == "tags" else 2)
    assert message in capsys.readouterr().err and not (tmp_path / "new").exists()
