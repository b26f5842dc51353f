"""info, convert and layers on folders of every family, with and without a head."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import minipeft as mp
from minipeft.adaptation.merge import fold
from minipeft.autograd.nn import size
from minipeft.hf.models.family import PARAMETERS
from tests.support import families
from tests.support.families import BERT, GPT2, METHODS, C, V, decoder, encoder
from tests.support.tokenizers import letters

LLAMA = replace(families.LLAMA, head_width=None, rope_theta=10000.0, window=None, biases=())
CAUSAL = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "qwen2": replace(LLAMA, biases=("q", "k", "v")),
    "mistral": replace(LLAMA, window=6),
}
LMS = {name: decoder(c) for name, c in CAUSAL.items()} | {"bert": encoder(BERT)}
POOL = {True: "last", False: "cls"}
HEADS = {
    "lm": lambda m: m,
    "texts": lambda m: mp.Classifier(m, C, POOL[m.causal], not m.causal),
    "tokens": lambda m: mp.TokenClassifier(m, C, bias=True),
    "spans": mp.SpanClassifier,
    "none": mp.Features,
}
each_family = pytest.mark.parametrize("kind", LMS)
each_head = pytest.mark.parametrize("head", HEADS)


@each_family
@each_head
def test_info_describes_a_model_as_it_loads(tmp_path, json_of, kind, head):
    mp.save(HEADS[head](LMS[kind]), tmp_path / "m")
    report, model = json_of("info", tmp_path / "m"), mp.load(tmp_path / "m")
    assert report["type"] == "model" and report["model_type"] == kind and not report["tokenizer"]
    assert report["loads_as"] == type(model).__name__ and report["not_supported"] is None
    assert report["params"] == size(model) == report["dtypes"]["float32"]
    assert report["config"]["width"] == 8
    assert {*report["files"]} == {"config.json", "model.safetensors"}


@each_family
@each_head
def test_layers_have_the_names_in_the_file(tmp_path, json_of, kind, head):
    mp.save(HEADS[head](LMS[kind]), tmp_path / "m")
    layers = json_of("layers", "--model", tmp_path / "m")
    names = {f"{x['hugging_face']}.{PARAMETERS[n]}" for x in layers for n in x["shapes"]}
    names = {name.replace("predictions.decoder.bias", "predictions.bias") for name in names}
    tied_head = {"lm_head.weight", "cls.predictions.decoder.weight"}
    in_file = {*load_file(tmp_path / "m/model.safetensors")}
    assert names - tied_head == in_file - tied_head
    blocks = [x["hugging_face"] for x in layers if x["path"] in ("blocks.0", "blocks.1")]
    assert len(blocks) == 2 and all(any(n.startswith(f"{b}.") for n in in_file) for b in blocks)


@each_family
def test_info_reads_no_tensor_of_a_model(tmp_path, json_of, monkeypatch, kind):
    mp.save(LMS[kind], tmp_path / "m")
    monkeypatch.setattr("minipeft.storage.safetensors.StoredTensor.read", None)
    assert json_of("info", tmp_path / "m")["not_supported"] is None


def test_info_sums_up_shards(tmp_path, json_of, run, capsys):
    mp.save(LMS["llama"], tmp_path / "m")
    path = tmp_path / "m/model.safetensors"
    single, tensors = json_of("info", tmp_path / "m"), load_file(path)
    path.unlink()
    names = [f"model-{i}-of-2.safetensors" for i in (1, 2)]
    shard_of = {name: names[i % 2] for i, name in enumerate(tensors)}
    for file in names:
        save_file({n: x for n, x in tensors.items() if shard_of[n] == file}, tmp_path / "m" / file)
    index = path.with_name("model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": shard_of}))
    report = json_of("info", tmp_path / "m")
    assert {*report.pop("files")} == {"config.json", index.name, *names}
    assert single.pop("files") and report == single
    index.write_text(json.dumps({"weight_map": {"x": "../m/model-1-of-2.safetensors"}}))
    assert run("info", tmp_path / "m") == 3
    assert "which is not a .safetensors file of the same folder" in capsys.readouterr().err


def test_info_names_an_unsupported_field_and_shows_the_rest(tmp_path, json_of, run, capsys):
    mp.save(LMS["gpt2"], tmp_path / "m")
    path = tmp_path / "m/config.json"
    settings = json.loads(path.read_text())
    for field, value in {"model_type": "mamba", "activation_function": "relu"}.items():
        path.write_text(json.dumps(settings | {field: value}))
        report = json_of("info", tmp_path / "m")
        assert f"{field}={value!r} is not supported" in report["not_supported"]
        assert report["params"] == size(LMS["gpt2"]) and report["loads_as"] is None
        assert report["config"]["n_embd"] == 8 and report["config"][field] == value
    path.write_text(json.dumps(settings | {"n_embd": 12}))
    assert "wte.weight has shape (13, 8)" in json_of("info", tmp_path / "m")["not_supported"]
    assert run("info", tmp_path / "m") == 0 and "not supported" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in METHODS if name != "plain"])
def test_an_adaptation_is_described_and_converted(tmp_path, json_of, name):
    model = mp.load()
    adaptation = METHODS[name]().attach(model, np.random.default_rng(0))
    mp.save(adaptation, tmp_path / "a")
    report = json_of("info", tmp_path / "a", "--model", "decoder")
    alone = json_of("info", tmp_path / "a")
    assert report["trained_params"] == size(fold(adaptation)) <= alone["params"]
    assert alone["trained_params"] is None
    assert alone["loads_as"] == str(adaptation) and report["loads_as"] == str(fold(adaptation))
    assert alone["made_for"]["width"] == 128 and report["checked_with"] == "decoder, as Decoder"
    converted = json_of("convert", tmp_path / "a", tmp_path / "b", "--dtype", "float64")
    assert converted["type"] == "adaptation"
    assert converted["params"] == report["trained_params"]
    assert "reparametrization.safetensors" not in converted["files"]
    before, after = (mp.load_adaptation(tmp_path / x, model).parameters() for x in "ab")
    assert all(np.array_equal(p.data, q.data) for p, q in zip(before, after, strict=True))


def test_info_describes_a_folder_of_peft(tmp_path, json_of):
    mp.save(mp.LoRA(2).attach(LMS["llama"], np.random.default_rng(0)), tmp_path / "a")
    tensors, config = tmp_path / "a/adapter_model.safetensors", tmp_path / "a/adapter_config.json"
    save_file(load_file(tensors), tensors)  # without minipeft's metadata
    settings = json.loads(config.read_text()) | {"base_model_name_or_path": "some/llama"}
    config.write_text(json.dumps(settings | {"use_dora": True}))
    report = json_of("info", tmp_path / "a")
    assert report["peft_type"] == "LORA" and report["task_type"] == "CAUSAL_LM"
    assert report["base_model"] == "some/llama"
    assert report["loads_as"] == "DoRA" and report["ranks"] == [2] and report["made_for"] is None
    assert report["config"]["target_modules"] == ["self_attn.q_proj", "self_attn.v_proj"]
    for wrong in ({"peft_type": "VERA"}, {"lora_bias": True}):
        config.write_text(json.dumps(settings | wrong))
        report = json_of("info", tmp_path / "a")
        ((field, value),) = wrong.items()
        assert f"{field}={value!r} is not supported" in report["not_supported"]
        assert report["loads_as"] is None and report["params"] == 112


@pytest.mark.parametrize("kind, joined", [("gpt2", True), ("llama", False)])
def test_info_says_why_a_file_has_a_larger_rank(tmp_path, json_of, kind, joined):
    rng = np.random.default_rng(0)
    mp.save(mp.LoRA(2).attach(LMS[kind], rng), tmp_path / "a")
    report = json_of("info", tmp_path / "a")
    assert report["ranks"] == ([4] if joined else [2]) and bool(report["note"]) == joined
    tensors = tmp_path / "a/adapter_model.safetensors"
    save_file(load_file(tensors), tensors)  # without minipeft's metadata, as PEFT's
    assert json_of("info", tmp_path / "a")["note"] is None


@each_family
@pytest.mark.parametrize("head", ["texts", "tokens", "spans"])
def test_an_adaptation_with_a_head_is_checked_converted_and_merged(tmp_path, json_of, kind, head):
    network, rng = HEADS[head](LMS[kind]), np.random.default_rng(0)
    adaptation = mp.Chain(mp.LoRA(2), mp.Probe()).attach(network, rng)
    for p in adaptation.parameters():
        p.data = np.asarray(rng.normal(size=p.shape), p.dtype)
    mp.save(LMS[kind], tmp_path / "m")
    mp.save(adaptation, tmp_path / "a")
    (tmp_path / "a/labels.json").write_text(json.dumps(["x", "y", "z"]))
    name = type(network).__name__
    report = json_of("info", tmp_path / "a", "--model", tmp_path / "m")
    assert report["checked_with"].endswith(f", as {name}")
    assert report["labels"] == ["x", "y", "z"]
    json_of("convert", tmp_path / "a", tmp_path / "b", "--model", tmp_path / "m")
    assert (tmp_path / "b/labels.json").exists()
    merged = json_of("convert", tmp_path / "m", tmp_path / "n", "--adaptation", tmp_path / "b")
    assert merged["class"] == name and 0 < merged["difference"] < 1e-4
    ids = rng.integers(0, V, (2, 5))
    z = mp.load(tmp_path / "n")(ids).data
    np.testing.assert_allclose(z, network(ids, adaptation).data, atol=1e-4)


def test_a_merge_that_goes_wrong_is_seen_in_the_difference(tmp_path, json_of, monkeypatch):
    γ = mp.LoRA(2).attach(LMS["gpt2"], np.random.default_rng(0))
    mp.save(LMS["gpt2"], tmp_path / "m")
    mp.save(γ.map(lambda p: mp.Tensor(p.data + 0.5)), tmp_path / "a")
    merge = "convert", tmp_path / "m", tmp_path / "n", "--adaptation", tmp_path / "a"
    report, ids = (
        json_of(*merge),
        np.random.default_rng(0).integers(0, V, LMS["gpt2"].config.length),
    )
    logits = mp.load(tmp_path / "n")([ids[:32]]).data
    assert report["difference"] < 1e-5 and np.isclose(report["logits_std"], logits.std(), 1e-4)
    half = json_of(*merge, "--dtype", "float16")["difference"]
    monkeypatch.setattr("minipeft.commands.convert.merge", lambda network, adaptation: network)
    assert 1e-5 < half < 1e-2 < json_of(*merge)["difference"]
    report = json_of("convert", tmp_path / "m", tmp_path / "n")
    assert report["difference"] is report["logits_std"] is None


@pytest.mark.parametrize("head", ["texts", "tokens", "spans"])
def test_an_adaptation_with_a_head_in_our_format_names_its_network(tmp_path, json_of, head):
    network = HEADS[head](LMS["gpt2"])
    mp.save(LMS["gpt2"], tmp_path / "m")
    adaptation = mp.Chain(mp.Adapter(3), mp.Probe()).attach(network, np.random.default_rng(0))
    mp.save(adaptation, tmp_path / "a")
    report = json_of("info", tmp_path / "a", "--model", tmp_path / "m")
    assert report["checked_with"].endswith(f", as {type(network).__name__}")


@each_family
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_model_is_converted_with_its_tokenizer(tmp_path, json_of, kind, dtype):
    mp.save(LMS[kind], tmp_path / "m", tokenizer=letters())
    report = json_of("convert", tmp_path / "m", tmp_path / "n", "--dtype", dtype)
    assert report["dtype"] == dtype and report["params"] == size(LMS[kind])
    assert {*report["files"]} == {p.name for p in (tmp_path / "m").iterdir()}
    assert json_of("info", tmp_path / "n")["dtypes"] == {dtype: report["params"]}
    before, after = (mp.load(tmp_path / x).parameters() for x in "mn")
    rtol, atol = (1e-3, 1e-6) if dtype == "float16" else (0, 0)
    for t, u in zip(before, after, strict=True):
        np.testing.assert_allclose(t.data, u.data, rtol, atol)


def test_convert_keeps_float64_and_replaces_old_names_of_tensors(tmp_path, json_of):
    model = LMS["bert"].astype("float64")
    mp.save(model, tmp_path / "m", dtype="float64")
    path = tmp_path / "m/model.safetensors"
    new = load_file(path)
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma"): x for n, x in new.items()}
    save_file(old, path)
    assert json_of("convert", tmp_path / "m", tmp_path / "m")["dtype"] == "float64"
    converted = load_file(path)
    assert converted.keys() == new.keys()
    assert all(np.array_equal(new[n], converted[n]) for n in new)


def test_a_failed_conversion_leaves_the_folder_as_it_was(tmp_path, run, json_of, capsys):
    rng = np.random.default_rng(0)
    mp.save(LMS["gpt2"].map(lambda t: mp.Tensor(t.data + 1e6)), tmp_path / "m")
    mp.save(mp.PromptTuning(2).attach(mp.load(tmp_path / "m"), rng), tmp_path / "p")
    json_of("convert", "decoder", tmp_path / "n")
    before = (tmp_path / "n/model.safetensors").read_bytes()
    convert = ["convert", tmp_path / "m", tmp_path / "n"]
    assert run(*convert, "--dtype", "float16") == 3
    assert "holds NaN or infinity as float16" in capsys.readouterr().err
    assert run(*convert, "--adaptation", tmp_path / "p") == 2
    assert (
        "can't be merged, since it does not change the weights of tokens" in capsys.readouterr().err
    )
    assert (tmp_path / "n/model.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "n", "p"]


def test_info_describes_the_built_in_base_in_80_columns(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("info") == 0
    rows = capsys.readouterr().out.splitlines()
    assert max(map(len, rows)) <= 80
    assert any(row.split() == ["params", "1,088,256"] for row in rows)
