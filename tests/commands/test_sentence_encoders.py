"""`compare` on the folder of a sentence encoder, as sentence-transformers writes it."""

import json

import numpy as np
import pytest

import minipeft as mp

POOLING = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
MODULES = [{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}]
QUICK = "--methods probe lora --steps 2 --pilot-steps 1 --lrs 1e-3 --seeds 1 --budget 1".split()


def save(folder, network):
    """Save a small encoder of this class, with the pooling of a sentence encoder."""
    tokenizer, rng = mp.load_tokenizer("encoder"), np.random.default_rng(0)
    config = mp.BertConfig(tokenizer.get_vocab_size(), 16, layers=1, heads=2, length=64)
    mp.save(network(config, rng), folder, tokenizer=tokenizer)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(POOLING))
    (folder / "modules.json").write_text(json.dumps(MODULES))
    return folder


@pytest.fixture
def general(tmp_path):
    path = tmp_path / "general.txt"
    path.write_text("The harbour opens at nine, and the tower at ten. " * 12)
    return path


def test_a_sentence_encoder_is_compared_with_its_own_pool(tmp_path, examples, json_of):
    folder = save(tmp_path / "encoder", mp.Encoder)
    report = json_of("compare", "--model", folder, "--data", examples, *QUICK)
    assert report["pool"] == "mean" and report["pools"] is None
    assert [result["method"] for result in report["results"]] == ["probe", "lora"]
    assert [result["forgets"] for result in report["results"]] == [None, None]


def test_a_model_that_predicts_words_forgets_some_of_a_text(tmp_path, examples, general, json_of):
    folder = save(tmp_path / "encoder", mp.MaskedLM)
    report = json_of("compare", "--model", folder, "--data", examples, "--text", general, *QUICK)
    probe, lora = (result["forgets"] for result in report["results"])
    assert probe["runs"] == [0] and lora["mean"] != 0


def test_a_text_for_a_model_that_predicts_no_words_is_refused(
    tmp_path, examples, general, run, capsys
):
    folder = save(tmp_path / "encoder", mp.Encoder)
    assert run("compare", "--model", folder, "--data", examples, "--text", general, *QUICK)
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "general.txt: general text needs a base that" in message
