"""train and evaluate on examples: pairs, files of their own, heads of folders, long prompts."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft.tasks.classify import classifier

TEXTS = {"bad": "cold dull rude", "good": "warm fine kind"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The folder of a small BERT and its tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    tokenizer = mp.load_tokenizer("encoder")
    config = mp.BertConfig(tokenizer.get_vocab_size(), 16, layers=2, heads=2, length=64)
    mp.save(mp.MaskedLM(config, np.random.default_rng(0)), folder, tokenizer=tokenizer)
    return folder


def write(path, rows):
    """Write rows, dicts, in the format that the ending says."""
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        lines = [rows[0].keys(), *(row.values() for row in rows)]
        path.write_text("\n".join(",".join(map(str, line)) for line in lines))
    return path


def rows(names=None, count=10, start=0):
    """Examples whose labels one word gives away; names: {"bad": label, "good": label}."""
    names = names or {"bad": "bad", "good": "good"}
    return [
        {"text": f"{word} {i}", "label": names[kind]}
        for i in range(start, start + count)
        for kind, words in TEXTS.items()
        for word in words.split()
    ]


# -- files


def test_held_out_and_test_examples_may_be_files_of_another_kind(base, tmp_path, json_of):
    numbers = {"bad": 0, "good": 1}
    data = write(tmp_path / "train.json", rows(numbers, 4))
    dev = write(tmp_path / "dev.csv", rows(numbers, 1, start=7) + rows(numbers, 1)[:2])
    test = write(tmp_path / "test.jsonl", rows({"bad": "0", "good": 1.0}, 3, start=9)[:-3])
    files = ["--data", data, "--dev", dev, "--test", test, "--out", tmp_path / "new"]
    report = json_of("train", "lora", "--model", base, *files, "--steps", 40, "--lr", 0.02)
    assert report["majority_accuracy"] == 5 / 8 and report["test_majority_accuracy"] == 9 / 15
    assert report["test_accuracy"] > 0.8
    args = ["--model", base, "--adaptation", tmp_path / "new"]
    for split, path in {"": dev, "test_": test}.items():
        (result,) = json_of("evaluate", *args, "--data", path)["results"]
        assert result["accuracy"] == report[f"{split}accuracy"]
    assert json.loads((tmp_path / "new/labels.json").read_text()) == ["0", "1"]


def test_held_out_and_test_texts_may_be_files(base, tmp_path, json_of):
    world = (base.parent / "world.txt").read_text()
    paths = [tmp_path / name for name in ("train.txt", "dev.md", "test")]
    for path, start in zip(paths, (0, 9000, 18000)):
        path.write_text(world[start : start + 9000])
    files = dict(zip(("--data", "--dev", "--test"), paths))
    args = [x for pair in files.items() for x in pair]
    out = tmp_path / "new"
    report = json_of("train", "lora", "--model", base, *args, "--out", out, "--steps", 3)
    for prefix, path in {"": paths[1], "test_": paths[2]}.items():
        args = ["--model", base, "--data", path, "--adaptation", out]
        of_base, adapted = json_of("evaluate", *args)["results"]
        assert report[f"{prefix}base_loss"] == of_base["loss"]
        assert report[f"{prefix}loss"] == pytest.approx(adapted["loss"], rel=1e-6)


@pytest.mark.parametrize("flags", [[], ["--dev"], ["--test"], ["--dev", "--test"]])
def test_a_comparison_may_have_its_own_files(base, tmp_path, json_of, flags):
    data = write(tmp_path / "data.csv", rows() + [{"text": "rare", "label": "rare"}] * 2)
    own = [x for flag in flags for x in (flag, write(tmp_path / f"{flag}.json", rows(count=1)))]
    args = ["--model", base, "--methods", "probe", "--steps", 1, "--seeds", 1, "--lrs", 0.01]
    examples = json_of("compare", *args, "--data", data, *own)["examples"]
    dev, test = 6 if "--dev" in flags else 6, 6 if "--test" in flags else 13
    dev += "--dev" not in flags and "--test" in flags
    assert (examples["dev"], examples["test"]) == (dev, test)


# -- pairs


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_pairs_of_texts_are_trained_and_evaluated_alike(base, encoder, tmp_path, json_of, family):
    model = base if family == "decoder" else encoder
    pairs = [
        {"first": f"the soup {i}", "second": row["text"], "label": row["label"]}
        for i, row in enumerate(rows(count=5))
    ]
    data = write(tmp_path / "pairs.jsonl", pairs)
    (tmp_path / "run.toml").write_text('text-column = ["first", "second"]\n')
    columns = ["--text-column", "first", "second"]
    args = ["--model", model, "--data", data, "--test", data]
    args += ["--steps", 40, "--lr", 0.02, "--out", tmp_path / "new"]
    report = json_of("train", "lora", *args, *columns)
    assert report["test_accuracy"] > 0.6
    out, predictions = tmp_path / "new", tmp_path / "predictions.jsonl"
    args = ["--model", model, "--data", data, "--adaptation", out, "--predictions", predictions]
    (result,) = json_of("evaluate", *args, "--config", tmp_path / "run.toml")["results"]
    assert result["accuracy"] == report["test_accuracy"]
    again = ["--model", model, "--data", predictions, "--adaptation", out, *columns]
    assert json_of("evaluate", *again)["results"][0]["accuracy"] == 1


# -- room for virtual tokens


@pytest.mark.parametrize("method", ["prompt", "prefix", "ptuning2", "deep", "multitask"])
def test_long_prompts_leave_the_room_that_short_texts_need(base, tmp_path, json_of, method):
    data = write(tmp_path / "data.csv", rows())
    args = ["--model", base, "--data", data, "--length", 100, "--steps", 1]
    report = json_of("train", method, *args, "--out", tmp_path / "new")
    assert report["truncated"] == 0
    args = ["--model", base, "--data", data, "--adaptation", tmp_path / "new"]
    assert json_of("evaluate", *args)["truncated"] == 0


def test_texts_are_truncated_by_what_does_not_fit(base, tmp_path, json_of):
    tokenizer, long = mp.load_tokenizer(base), "warm " * 30
    n = len(tokenizer.encode(long).ids)
    data = write(tmp_path / "data.csv", [*rows(), {"text": long, "label": "good"}])
    for length, truncated in ((128 - n, 0), (129 - n, 1)):
        args = ["--model", base, "--data", data]
        out, prompt = tmp_path / str(length), ["prompt", "--length", length, "--steps", 1]
        assert json_of("train", *prompt, *args, "--out", out)["truncated"] == truncated
        assert json_of("evaluate", *args, "--adaptation", out)["truncated"] == truncated
    compare = ["--methods", "probe", "prompt", "--steps", 1, "--seeds", 1, "--lrs", 0.01]
    assert json_of("compare", *args, *compare)["truncated"] == (n + 20 > 128)


# -- heads of folders


def trained_head(base, folder, tokenizer, names, bias, token="classifier"):
    """A folder of a classifier with a head that is not 0, and id2label."""
    network = classifier(base, len(names), bias)
    rng = np.random.default_rng(1)
    network = network.map(lambda t: mp.Tensor(t.data + 0.5 * rng.normal(size=t.shape).astype("f4")))
    network.folder_settings = {"id2label": dict(enumerate(names))} if names[0] else {}
    mp.save(network, folder, tokenizer=tokenizer)
    return mp.load(folder)


def predicted(network, tokenizer, texts):
    """The number of the class of each text, one at a time."""
    ids = [np.array([tokenizer.encode(text).ids]) for text in texts]
    return [int(network(x).data.argmax()) for x in ids]


@pytest.mark.parametrize("names", [("good", "bad", "other"), (None,) * 3], ids=["named", "default"])
@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_the_head_of_a_folder_is_evaluated_with_its_names(
    base, encoder, tmp_path, json_of, run, capsys, family, names
):
    source = encoder if family == "bert" else base
    tokenizer, folder = mp.load_tokenizer(source), tmp_path / "m"
    network = trained_head(mp.load(source), folder, tokenizer, names, family == "bert")
    texts = [row["text"] for row in rows()]
    classes = predicted(network, tokenizer, texts)
    shown = names if names[0] else ("LABEL_0", "LABEL_1", "LABEL_2")
    for labels in (shown, (0, 1, 2), ("0", 1.0, " 2")):
        data = [{"text": x, "label": labels[c]} for x, c in zip(texts, classes)]
        data[0]["label"] = labels[(classes[0] + 1) % 3]
        path = write(tmp_path / "data.jsonl", data)
        (result,) = json_of("evaluate", "--model", folder, "--data", path)["results"]
        assert result == {"adaptation": None, "accuracy": 1 - 1 / len(texts)}
    new, out = write(tmp_path / "new.jsonl", [{"text": x} for x in texts]), tmp_path / "p.jsonl"
    assert run("evaluate", "--model", folder, "--data", new, "--predictions", out) == 0
    lines = map(json.loads, out.read_text().splitlines())
    assert [line["label"] for line in lines] == [shown[c] for c in classes]
    path = write(tmp_path / "data.jsonl", rows({"bad": "bad", "good": "unheard of"}))
    assert run("evaluate", "--model", folder, "--data", path) == 3
    assert f"{folder} was trained on {', '.join(shown)}" in capsys.readouterr().err


def test_a_classifier_of_peft_with_a_bias_is_evaluated(encoder, tmp_path, json_of):
    base, tokenizer = mp.load(encoder), mp.load_tokenizer(encoder)
    network, rng = classifier(base, 3, bias=True), np.random.default_rng(2)
    γ = mp.Chain(mp.LoRA(2), mp.Probe()).attach(network, rng)
    for p in γ.parameters():
        p.data = p.data + 0.5 * rng.normal(size=p.shape).astype("f4")
    mp.save(γ, folder := tmp_path / "a")
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file(tensors, file)  # without metadata, as PEFT writes it
    assert "base_model.model.classifier.bias" in tensors
    texts = [row["text"] for row in rows(count=3)]
    logits = [network(np.array([tokenizer.encode(x).ids]), γ).data[0] for x in texts]
    settings = json.loads((encoder / "config.json").read_text())
    names = ["c", "b", "a"]
    for place in (encoder, folder):  # id2label of the base, and of the adapter
        labelled = settings | {"id2label": dict(zip("012", names))}
        (place / "config.json").write_text(json.dumps(labelled))
        data = [{"text": x, "label": names[z.argmax()]} for x, z in zip(texts, logits)]
        path = write(tmp_path / "data.csv", data)
        args = ["--model", encoder, "--adaptation", folder, "--data", path]
        assert json_of("evaluate", *args)["results"][0]["accuracy"] == 1
        (encoder / "config.json").write_text(json.dumps(settings))
        names = ["x", "y", "z"]


def test_a_head_is_kept_if_the_labels_agree(base, tmp_path, json_of, run, capsys):
    tokenizer, folder = mp.load_tokenizer(base), tmp_path / "m"
    network = trained_head(mp.load(base), folder, tokenizer, ("good", "bad", "other"), False)
    classes = predicted(network, tokenizer, [row["text"] for row in rows()])
    for labels, stored in (
        (("good", "bad", "other"), ["good", "bad", "other"]),
        ((0, 1, 2), ["0", "1", "2"]),
    ):
        data = [row | {"label": labels[c]} for row, c in zip(rows(), classes)]
        path, out = write(tmp_path / "data.json", data), tmp_path / f"out{labels[0]}"
        args = ["--model", folder, "--data", path]
        train = ["--steps", 1, "--lr", 1e-9, "--out", out]
        assert json_of("train", "lora", *args, *train)["accuracy"] == 1
        assert json.loads((out / "labels.json").read_text()) == stored
        assert json_of("evaluate", *args, "--adaptation", out)["results"][0]["accuracy"] == 1
    for i, names in enumerate(({"bad": "good", "good": "new"}, {"bad": 0, "good": 1})):
        path = write(tmp_path / "data.json", rows(names))
        args = ["--model", folder, "--data", path, "--steps", 1, "--out", tmp_path / f"other{i}"]
        assert run("train", "lora", *args) == 0
        error = " ".join(capsys.readouterr().err.split())
        assert "a new head is trained, not the model's: its classes are good, bad, other" in error
        stored = json.loads((tmp_path / f"other{i}/labels.json").read_text())
        assert stored == [str(name) for name in names.values()]


def test_a_head_for_a_regression_is_named_as_missing(base, tmp_path, run, capsys):
    folder = tmp_path / "m"
    trained_head(mp.load(base), folder, mp.load_tokenizer(base), ("score",), False)
    assert run("evaluate", "--model", folder, "--data", write(tmp_path / "d.csv", rows())) == 3
    assert "regression (num_labels=1), which is not supported" in capsys.readouterr().err


def test_an_encoder_without_a_pooler_is_trained_and_evaluated(encoder, tmp_path, json_of):
    model, folder = mp.load(encoder), tmp_path / "m"
    del model.pooler
    mp.save(model, folder, tokenizer=mp.load_tokenizer(encoder))
    assert not hasattr(mp.load(folder), "pooler")
    args = ["--model", folder, "--data", write(tmp_path / "d.csv", rows())]
    out = tmp_path / "out"
    assert json_of("train", "lora", *args, "--steps", 1, "--out", out)["truncated"] == 0
    assert 0 <= json_of("evaluate", *args, "--adaptation", out)["results"][0]["accuracy"] <= 1
    assert "as Classifier" in json_of("info", out, "--model", folder)["checked_with"]
