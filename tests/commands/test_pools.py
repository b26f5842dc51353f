"""The pool of a classifier: --pool, 1_Pooling of sentence encoders, and folders that record it."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp

CONFIG = {"word_embedding_dimension": 16, "include_prompt": True}
WORDS = {"bad": "cold dull rude", "good": "warm fine kind"}
MEAN, CLS, LAST = "pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_lasttoken"
FILE = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{a small BERT, a small GPT-2}, and examples whose labels one word gives away."""
    folder, rng = tmp_path_factory.mktemp("pools"), np.random.default_rng(0)
    for name, network, config in (
        ("encoder", mp.MaskedLM, mp.BertConfig),
        ("decoder", mp.Decoder, mp.Config),
    ):
        tokenizer = mp.load_tokenizer(name)
        model = network(config(tokenizer.get_vocab_size(), 16, layers=1, heads=2, length=64), rng)
        mp.save(model, folder / name, tokenizer=tokenizer)
    rows = [
        {"text": f"it was {word} {i} times", "label": label}
        for i in range(8)
        for label, words in WORDS.items()
        for word in words.split()
    ]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def sentences(folders, tmp_path):
    """sentences(content) returns the folder of an encoder with such a 1_Pooling/config.json."""

    def make(content):
        folder = tmp_path / "sentences"
        model, tokenizer = mp.load(folders / "encoder"), mp.load_tokenizer(folders / "encoder")
        mp.save(model, folder, tokenizer=tokenizer)
        (folder / "1_Pooling").mkdir()
        text = content if isinstance(content, str) else json.dumps(CONFIG | content)
        (folder / "1_Pooling/config.json").write_text(text)
        return folder

    return make


def probe(json_of, data, model, out, *flags):
    """The report of `train probe`, the pool that it names, and the accuracy on its own data."""
    args = ["--model", model, "--data", data, "--test", data]
    report = json_of("train", "probe", *args, "--out", out, *flags)
    args = ["--model", model, "--data", data, "--adaptation", out]
    (result,) = json_of("evaluate", *args)["results"]
    assert result["accuracy"] == report["test_accuracy"]
    return report


@pytest.mark.parametrize(
    "content, pool",
    [
        ({MEAN: True, CLS: False}, "mean"),
        ({MEAN: False, CLS: True, LAST: False}, "first"),
        ({MEAN: False, LAST: True}, "last"),
        ({}, "mean"),  # the default of sentence-transformers
        ({"pooling_mode": "cls"}, "first"),
    ],
)
def test_the_pool_of_a_sentence_encoder_is_used(content, pool, folders, sentences, json_of):
    folder, data = sentences(content), folders / "data.jsonl"
    assert probe(json_of, data, folder, folder.parent / "a")["pool"] == pool


def test_a_copy_of_a_sentence_encoder_keeps_its_pool(folders, sentences, json_of):
    folder, data, copy = sentences({MEAN: True}), folders / "data.jsonl", folders / "copy"
    for _ in range(2):  # also where an earlier copy is replaced
        json_of("convert", folder, copy)
    assert probe(json_of, data, copy, folder.parent / "a")["pool"] == "mean"
    out = folder.parent / "b"
    assert probe(json_of, data, copy, out, "--pool", "cls")["pool"] == "cls"  # a flag wins


@pytest.mark.parametrize(
    "content, message",
    [
        ({MEAN: False, "pooling_mode_max_tokens": True}, "asks for pooling by max_tokens, which"),
        ({CLS: True}, "asks for pooling by cls_token and mean_tokens, which"),
        ({MEAN: False}, "asks for pooling by nothing, which"),
        ({"pooling_mode": "weightedmean"}, "asks for pooling by weightedmean, which"),
        ({"pooling_mode": ["mean", "max"]}, r"asks for pooling by \['mean', 'max'\], which"),
        ({MEAN: "yes"}, "pooling_mode_mean_tokens='yes' must be a bool"),
        ('{"pooling_mode_mean_tokens": tr', "is not JSON"),
        ("[]", "must hold a JSON object"),
    ],
)
def test_other_pooling_is_refused_by_name(content, message, folders, sentences, run, capsys):
    folder = sentences(content)
    args = ["--model", folder, "--data", folders / "data.jsonl", "--out", folder.parent / "out"]
    assert run("train", "probe", *args) == 3
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(rf"1_Pooling/config.json.* {message}", error)
    assert not (folder.parent / "out").exists()
    if "max_tokens" in message:
        assert "choose a pool with --pool" in error
        assert run("train", "probe", *args, "--pool", "mean") == 0


POOLS = {"decoder": ("last", "mean"), "encoder": ("cls", "first")}


@pytest.mark.parametrize("kind, pool", [(kind, pool) for kind in POOLS for pool in POOLS[kind]])
def test_the_pool_is_loaded_as_it_was_saved(kind, pool, folders, tmp_path, json_of):
    model, data = folders / kind, folders / "data.jsonl"
    args = ["--model", model, "--data", data, "--test", data, "--pool", pool]
    flags = ["--steps", 20, "--lr", 0.02, "--warmup-steps", 0, "--out", tmp_path / "a"]
    accuracy = json_of("train", "lora", *args, *flags)["test_accuracy"]
    json_of("convert", tmp_path / "a", tmp_path / "b", "--model", model)
    for folder in (tmp_path / "a", tmp_path / "b"):
        args = ["--model", model, "--data", data, "--adaptation", folder]
        assert json_of("evaluate", *args)["results"][0]["accuracy"] == accuracy
        report = json_of("info", folder, "--model", model)
        assert report["made_for"]["pool"] == pool
        in_peft = pool == POOLS[kind][0]  # PEFT would use this pool, whatever the folder says
        assert (report["peft_type"] == "LORA") == in_peft
        mp.load_adaptation(folder, mp.Classifier(mp.load(model), 2, pool))
        other = mp.Classifier(mp.load(model), 2, POOLS[kind][pool == POOLS[kind][0]])
        with pytest.raises(mp.CheckpointError, match=f"pool='{pool}', and this model has"):
            mp.load_adaptation(folder, other)


def test_a_head_of_the_model_is_not_used_with_another_pool(folders, tmp_path, json_of):
    """A new head for other labels, as many as those of the model's head, has a pool of its own."""
    trunk, tokenizer = mp.load(folders / "decoder"), mp.load_tokenizer(folders / "decoder")
    model = mp.Classifier(trunk, 2)
    model.folder_settings = {"id2label": {0: "x", 1: "y"}}
    mp.save(model, tmp_path / "m", tokenizer=tokenizer)
    data, out = folders / "data.jsonl", tmp_path / "a"
    assert probe(json_of, data, tmp_path / "m", out, "--pool", "mean")["pool"] == "mean"


def test_folders_that_record_no_pool_are_loaded(folders, tmp_path, json_of):
    data, model, out = folders / "data.jsonl", folders / "decoder", tmp_path / "a"
    accuracy = probe(json_of, data, model, out)["test_accuracy"]
    save_file(load_file(out / FILE), out / FILE)  # without metadata
    args = ["--model", model, "--data", data, "--adaptation", out]
    assert json_of("evaluate", *args)["results"][0]["accuracy"] == accuracy


@pytest.mark.parametrize(
    "pool, message", [("cls", "encoder with a pooler"), ("first", "first tok")]
)
def test_a_pool_that_does_not_suit_the_model_is_refused(
    pool, message, folders, tmp_path, run, capsys
):
    args = [
        "--model",
        folders / "decoder",
        "--data",
        folders / "data.jsonl",
        "--out",
        tmp_path / "a",
    ]
    assert run("train", "probe", *args, "--pool", pool) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_pool_in_a_folder_is_named(folders, tmp_path, json_of, run, capsys):
    data, model, out = folders / "data.jsonl", folders / "decoder", tmp_path / "a"
    probe(json_of, data, model, out)
    tensors, metadata = load_file(out / FILE), {"base": '{"pool": "max"}'}
    save_file(tensors, out / FILE, metadata=metadata | {"network": "Classifier"})
    assert run("evaluate", "--model", model, "--data", data, "--adaptation", out) == 3
    assert f"{FILE}: pool='max' must be one of" in " ".join(capsys.readouterr().err.split())


# -- train probe


def test_a_probe_is_solved_without_steps(folders, tmp_path, json_of, run, capsys):
    data, model, out = folders / "data.jsonl", folders / "decoder", tmp_path / "a"
    report = probe(json_of, data, model, out)
    assert report["l2"] > 0 and report["test_accuracy"] > 0.6
    assert {path.name for path in out.iterdir()} == {"adapter_config.json", FILE, "labels.json"}
    args = ["--model", model, "--data", data, "--out", tmp_path / "b"]
    assert run("train", "probe", *args, "--steps", 9, "--lr-scheduler", "cosine", "--resume") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "without steps: leave out --steps, --lr-scheduler, --resume" in error
    assert run("train", "probe", *args) == 0
    assert "pool: last, λ = " in capsys.readouterr().out


@pytest.mark.parametrize("flags, pool", [("--hidden 8", "last"), ("--pool attention", "attention")])
def test_a_probe_that_is_not_convex_is_trained(flags, pool, folders, tmp_path, json_of):
    flags = *flags.split(), "--steps", 30, "--lr", 0.03, "--batch-size", 8
    report = probe(json_of, folders / "data.jsonl", folders / "decoder", tmp_path / "a", *flags)
    assert report["pool"] == pool and "l2" not in report and report["test_accuracy"] > 0.6
    assert len((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()) == 30
    γ = mp.load_adaptation(tmp_path / "a", mp.Classifier(mp.load(folders / "decoder"), 2, pool))
    assert γ.method == mp.Probe(hidden=8 if pool == "last" else None)


def test_compare_trains_a_hidden_probe(folders, json_of, run, capsys):
    flags = "--model", folders / "decoder", "--data", folders / "data.jsonl", "--seeds", 1
    flags += "--steps", 3, "--lrs", 0.01, "--hidden", 4, "--methods"
    report = json_of("compare", *flags, "probe")
    (result,) = report["results"]
    assert result["trained_params"] == 16 * 4 + 4 + 4 * 2 + 2 and len(result["losses"][0]) == 3
    assert run("compare", *flags, "lora") == 2
    assert "--hidden is for probe, which is not compared" in capsys.readouterr().err
    assert run("compare", "--hidden", 0) == 2
    assert "--hidden must be at least 1" in capsys.readouterr().err


def test_a_probe_does_not_touch_an_unfinished_training(folders, tmp_path, run, capsys):
    args = ["--model", folders / "decoder", "--data", folders / "data.jsonl"]
    (part := tmp_path / "a.part").mkdir()
    for name in ("training.safetensors", "notes"):
        (part / name).write_text("")
    assert run("train", "probe", *args, "--out", tmp_path / "a") == 3
    assert len([*part.iterdir()]) == 2 and not (tmp_path / "a").exists()


def test_features_that_are_not_finite_are_named(folders, tmp_path, run, capsys):
    model = mp.load(folders / "decoder")
    broken = model.map(lambda t: mp.Tensor(np.full_like(t.data, 3e38)))
    mp.save(broken, tmp_path / "m", tokenizer=mp.load_tokenizer(folders / "decoder"))
    args = ["--model", tmp_path / "m", "--data", folders / "data.jsonl", "--out", tmp_path / "a"]
    assert run("train", "probe", *args) == 5
    assert "examples are NaN or infinite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
