"""minipeft info, convert and layers, on folders of every family, with and without a head."""

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
families = pytest.mark.parametrize("kind", LMS)
heads = pytest.mark.parametrize("head", HEADS)


@pytest.fixture
def labelled_positions(run, capsys):
    """asked("info", folder): the JSON that a command prints."""

    def call(*args):
        assert run(*args, "--json") == 0
        return json.loads(capsys.readouterr().out)

    return call


@families
@heads
def test_a_model_is_told_of_as_it_loads(tmp_path, labelled_positions, kind, head):
    mp.save(HEADS[head](LMS[kind]), tmp_path / "m")
    told, model = labelled_positions("info", tmp_path / "m"), mp.load(tmp_path / "m")
    assert told["holds"] == "model" and told["model_type"] == kind and not told["tokenizer"]
    assert told["loads_as"] == type(model).__name__ and told["not_supported"] is None
    assert told["parameters"] == size(model) == told["stored_as"]["float32"]
    assert told["fields"]["width"] == 8 and {*told["files"]} == {"config.json", "model.safetensors"}


@families
@heads
def test_layers_have_the_names_that_are_in_the_file(tmp_path, labelled_positions, kind, head):
    mp.save(HEADS[head](LMS[kind]), tmp_path / "m")
    layers = labelled_positions("layers", "--model", tmp_path / "m")
    names = {f"{x['hugging_face']}.{PARAMETERS[n]}" for x in layers for n in x["shapes"]}
    tied_head = {"lm_head.weight", "cls.predictions.weight"}
    there = {*load_file(tmp_path / "m/model.safetensors")}
    assert names - tied_head == there - tied_head
    blocks = [x["hugging_face"] for x in layers if x["path"] in ("blocks.0", "blocks.1")]
    assert len(blocks) == 2 and all(any(n.startswith(f"{b}.") for n in there) for b in blocks)


@families
def test_info_takes_no_number_of_a_model(tmp_path, labelled_positions, monkeypatch, kind):
    mp.save(LMS[kind], tmp_path / "m")
    monkeypatch.setattr("minipeft.storage.safetensors.StoredTensor.read", None)
    assert labelled_positions("info", tmp_path / "m")["not_supported"] is None


def test_info_sums_up_shards(tmp_path, labelled_positions, run, capsys):
    mp.save(LMS["llama"], tmp_path / "m")
    path = tmp_path / "m/model.safetensors"
    whole, parts = labelled_positions("info", tmp_path / "m"), load_file(path)
    path.unlink()
    names = [f"model-{i}-of-2.safetensors" for i in (1, 2)]
    where = {name: names[i % 2] for i, name in enumerate(parts)}
    for file in names:
        save_file({n: x for n, x in parts.items() if where[n] == file}, tmp_path / "m" / file)
    index = path.with_name("model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": where}))
    told = labelled_positions("info", tmp_path / "m")
    assert {*told.pop("files")} == {"config.json", index.name, *names}
    assert whole.pop("files") and told == whole
    index.write_text(json.dumps({"weight_map": {"x": "../m/model-1-of-2.safetensors"}}))
    assert (
        run("info", tmp_path / "m") == 3
        and "not in a .safetensors beside it" in capsys.readouterr().err
    )


def test_what_is_not_supported_is_told_beside_what_is_there(
    tmp_path, labelled_positions, run, capsys
):
    mp.save(LMS["gpt2"], tmp_path / "m")
    path = tmp_path / "m/config.json"
    settings = json.loads(path.read_text())
    for field, value in {"model_type": "mamba", "activation_function": "relu"}.items():
        path.write_text(json.dumps(settings | {field: value}))
        told = labelled_positions("info", tmp_path / "m")
        assert f"{field}={value!r} is not supported" in told["not_supported"]
        assert told["parameters"] == size(LMS["gpt2"]) and told["loads_as"] is None
        assert told["fields"]["n_embd"] == 8 and told["fields"][field] == value
    path.write_text(json.dumps(settings | {"n_embd": 12}))
    assert "wte.weight is (13, 8)" in labelled_positions("info", tmp_path / "m")["not_supported"]
    assert run("info", tmp_path / "m") == 0 and "not supported" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in METHODS if name != "plain"])
def test_an_adaptation_is_told_of_and_written_anew(tmp_path, labelled_positions, name):
    model = mp.load()
    adaptation = METHODS[name]().attach(model, np.random.default_rng(0))
    mp.save(adaptation, tmp_path / "a")
    told = labelled_positions("info", tmp_path / "a", "--model", "decoder")
    alone = labelled_positions("info", tmp_path / "a")
    assert (
        told["trained"] == size(fold(adaptation)) <= alone["numbers"] and alone["trained"] is None
    )
    assert alone["loads_as"] == repr(adaptation) and told["loads_as"] == repr(fold(adaptation))
    assert alone["made_for"]["width"] == 128 and told["fits"] == "decoder, as Decoder"
    again = labelled_positions("convert", tmp_path / "a", tmp_path / "b", "--dtype", "float64")
    assert again["holds"] == "adaptation" and again["numbers"] == told["trained"]
    assert "reparametrization.safetensors" not in again["files"]
    one, other = (mp.load_adaptation(tmp_path / x, model).parameters() for x in "ab")
    assert all(np.array_equal(p.data, q.data) for p, q in zip(one, other, strict=True))


def test_what_stands_in_a_folder_of_pefts_is_told(tmp_path, labelled_positions):
    mp.save(mp.LoRA(2).attach(LMS["llama"], np.random.default_rng(0)), tmp_path / "a")
    path, own = tmp_path / "a/adapter_model.safetensors", tmp_path / "a/adapter_config.json"
    save_file(load_file(path), path)  # without what we wrote beside
    settings = json.loads(own.read_text()) | {"base_model_name_or_path": "some/llama"}
    own.write_text(json.dumps(settings | {"use_dora": True}))
    told = labelled_positions("info", tmp_path / "a")
    assert (told["peft_type"], told["task_type"], told["base"]) == (
        "LORA",
        "CAUSAL_LM",
        "some/llama",
    )
    assert told["loads_as"] == "DoRA" and told["ranks"] == [2] and told["made_for"] is None
    assert told["fields"]["target_modules"] == ["self_attn.q_proj", "self_attn.v_proj"]
    for wrong in ({"peft_type": "VERA"}, {"lora_bias": True}):
        own.write_text(json.dumps(settings | wrong))
        told = labelled_positions("info", tmp_path / "a")
        ((field, value),) = wrong.items()
        assert f"{field}={value!r} is not supported" in told["not_supported"]
        assert told["loads_as"] is None and told["numbers"] == 112


@families
@pytest.mark.parametrize("head", ["texts", "tokens", "spans"])
def test_an_adaptation_with_a_head_is_checked_converted_and_merged(
    tmp_path, labelled_positions, kind, head
):
    network, rng = HEADS[head](LMS[kind]), np.random.default_rng(0)
    adaptation = mp.Chain(mp.LoRA(2), mp.Probe()).attach(network, rng)
    for p in adaptation.parameters():
        p.data = np.asarray(rng.normal(size=p.shape), p.dtype)
    mp.save(LMS[kind], tmp_path / "m")
    mp.save(adaptation, tmp_path / "a")
    (tmp_path / "a/labels.json").write_text(json.dumps(["x", "y", "z"]))
    name = type(network).__name__
    told = labelled_positions("info", tmp_path / "a", "--model", tmp_path / "m")
    assert told["fits"].endswith(f", as {name}") and told["labels"] == ["x", "y", "z"]
    labelled_positions("convert", tmp_path / "a", tmp_path / "b", "--model", tmp_path / "m")
    assert (tmp_path / "b/labels.json").exists()
    merged = labelled_positions(
        "convert", tmp_path / "m", tmp_path / "n", "--adaptation", tmp_path / "b"
    )
    assert merged["kind"] == name
    ids = rng.integers(0, V, (2, 5))
    z = mp.load(tmp_path / "n")(ids).data
    np.testing.assert_allclose(z, network(ids, adaptation).data, atol=1e-4)


@pytest.mark.parametrize("head", ["texts", "tokens", "spans"])
def test_ours_with_a_head_says_of_which_network_it_is(tmp_path, labelled_positions, head):
    network = HEADS[head](LMS["gpt2"])
    mp.save(LMS["gpt2"], tmp_path / "m")
    adaptation = mp.Chain(mp.Adapter(3), mp.Probe()).attach(network, np.random.default_rng(0))
    mp.save(adaptation, tmp_path / "a")
    told = labelled_positions("info", tmp_path / "a", "--model", tmp_path / "m")
    assert told["fits"].endswith(f", as {type(network).__name__}")


@families
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_model_is_written_anew_with_its_tokenizer(tmp_path, labelled_positions, kind, dtype):
    mp.save(LMS[kind], tmp_path / "m", tokenizer=mp.load_tokenizer())
    told = labelled_positions("convert", tmp_path / "m", tmp_path / "n", "--dtype", dtype)
    assert told["dtype"] == dtype and told["numbers"] == size(LMS[kind])
    assert {*told["files"]} == {p.name for p in (tmp_path / "m").iterdir()}
    assert labelled_positions("info", tmp_path / "n")["stored_as"] == {dtype: told["numbers"]}
    one, other = (mp.load(tmp_path / x).parameters() for x in "mn")
    for t, u in zip(one, other, strict=True):
        np.testing.assert_allclose(
            t.data, u.data, *((1e-3, 1e-6) if dtype == "float16" else (0, 0))
        )


def test_without_a_dtype_no_digit_is_lost_and_old_names_become_the_present_ones(
    tmp_path, labelled_positions
):
    model = LMS["bert"].astype("float64")
    mp.save(model, tmp_path / "m", dtype="float64")
    path = tmp_path / "m/model.safetensors"
    now = load_file(path)
    save_file({n.replace("LayerNorm.weight", "LayerNorm.gamma"): x for n, x in now.items()}, path)
    assert (
        labelled_positions("convert", tmp_path / "m", tmp_path / "m")["dtype"] == "float64"
    )  # in its place
    again = load_file(path)
    assert again.keys() == now.keys() and all(np.array_equal(now[n], again[n]) for n in now)


def test_what_can_not_be_written_leaves_what_is_there(tmp_path, run, labelled_positions, capsys):
    rng = np.random.default_rng(0)
    mp.save(LMS["gpt2"].map(lambda t: mp.Tensor(t.data + 1e6)), tmp_path / "m")
    mp.save(mp.PromptTuning(2).attach(mp.load(tmp_path / "m"), rng), tmp_path / "p")
    labelled_positions("convert", "decoder", tmp_path / "n")
    before = (tmp_path / "n/model.safetensors").read_bytes()
    convert = ["convert", tmp_path / "m", tmp_path / "n"]
    assert run(*convert, "--dtype", "float16") == 3
    assert "holds NaN or infinity as float16" in capsys.readouterr().err
    assert run(*convert, "--adaptation", tmp_path / "p") == 2
    assert "can't be merged into tokens" in capsys.readouterr().err
    assert (tmp_path / "n/model.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "n", "p"]


def test_the_built_in_base_is_told_of_and_fits_80_columns(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("info") == 0
    rows = capsys.readouterr().out.splitlines()
    assert max(map(len, rows)) <= 80
    assert any(row.split() == ["│", "parameters", "│", "1,088,256", "│"] for row in rows)
