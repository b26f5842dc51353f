"""What else a model's folder says: it is written again, unless it contradicts what is written."""

import json
import shutil

import numpy as np
import pytest

import minipeft as mp
from minipeft.hf import CheckpointError
from minipeft.hf.models import FAMILIES
from minipeft.model.special_tokens import bos_id, eos_ids
from tests.support.families import DISTILBERT, ROBERTA, V, attached, encoder
from tests.support.folder_edits import NESTED, set_fields
from tests.support.folders import BART, BERT, GPT2, LLAMA, T5
from tests.support.tokenizers import letters

EXTRA = {  # settings that transformers, or another program, has in config.json
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "pad_token_id": 0,
    "initializer_range": 0.02,
    "transformers_version": "4.44.0",
    "task_specific_params": {"text-generation": {"max_length": 50}},
    "id2label": {"0": "no", "1": "yes"},
    "label2id": {"no": 0, "yes": 1},
    "ours": {"a": [1, None, 2.5]},
}
GENERATION = {"eos_token_id": [4, 5], "temperature": 0.6, "do_sample": True, "own": {"x": 1}}
FILES = {
    "generation_config.json": json.dumps(GENERATION),
    "tokenizer_config.json": json.dumps(
        {
            "tokenizer_class": "LlamaTokenizerFast",
            "eos_token": {"content": "g", "lstrip": False, "__type": "AddedToken"},
            "padding_side": "left",
            "chat_template": "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}",
            "own": [1],
        }
    ),
    "special_tokens_map.json": '{"pad_token":"a",  "bos_token":"f"}',
    "added_tokens.json": '{"a": 0}',
    "chat_template.jinja": "{{ raise_exception('never run') }}\r\n{% include '/etc/passwd' %}",
    "merges.txt": "#version: 0.2\n",
    "tokenizer.model": "\x00\x01",
}


@pytest.fixture
def folder(tmp_path):
    """A folder of a GPT-2 with all that a folder may have."""
    mp.save(GPT2, tmp_path / "m", letters())
    set_fields("config.json", **EXTRA)(tmp_path / "m")
    for name, text in FILES.items():
        (tmp_path / "m" / name).write_bytes(text.encode())
    return tmp_path / "m"


def read(path):
    return json.loads(path.read_text())


def assert_carried(new, old, **changed):
    """Raise AssertionError unless the folders say the same, but for `changed` in config.json."""
    assert {p.name for p in new.iterdir()} == {p.name for p in old.iterdir()}
    assert read(new / "config.json") == read(old / "config.json") | changed
    assert read(new / "generation_config.json") == GENERATION
    for name in FILES.keys() - {"generation_config.json"}:
        assert (new / name).read_bytes() == (old / name).read_bytes(), name


def test_a_saved_model_says_what_its_folder_said(tmp_path, folder):
    mp.save(mp.load(folder), tmp_path / "n", mp.load_tokenizer(folder))
    assert_carried(tmp_path / "n", folder)
    model = mp.load(folder).astype("float64")
    merged = mp.merge(model, attached("lora", model))
    mp.save(merged, tmp_path / "n", mp.load_tokenizer(folder), "float64")
    assert_carried(tmp_path / "n", folder, dtype="float64")


def test_convert_keeps_what_the_folder_says(tmp_path, folder, run):
    assert run("convert", folder, tmp_path / "n", "--dtype", "float16") == 0
    assert_carried(tmp_path / "n", folder, dtype="float16")
    assert run("convert", folder, folder, "--dtype", "float16") == 0  # in place
    assert_carried(folder, tmp_path / "n")
    mp.save(mp.LoRA(2).attach(mp.load(folder), np.random.default_rng(0)), tmp_path / "a")
    assert run("convert", folder, tmp_path / "o", "--adaptation", tmp_path / "a") == 0
    assert_carried(tmp_path / "o", folder, dtype="float32")
    (folder / "tokenizer.json").unlink()  # a slow tokenizer's files alone
    assert run("convert", folder, tmp_path / "n", "--dtype", "float16") == 0
    assert_carried(tmp_path / "n", folder)


def test_a_converted_adaptation_keeps_its_tokenizer(tmp_path, folder, run):
    mp.save(mp.LoRA(2).attach(mp.load(folder), np.random.default_rng(0)), tmp_path / "a")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(folder / name, tmp_path / "a")
    assert run("convert", tmp_path / "a", tmp_path / "b") == 0
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        p.name for p in (tmp_path / "b").iterdir()
    }
    name = "chat_template.jinja"
    assert (tmp_path / "b" / name).read_bytes() == (folder / name).read_bytes()


def test_settings_that_contradict_what_is_written_are_replaced(tmp_path, folder):
    wrong = {"torch_dtype": "bfloat16", "num_labels": 9, "quantization_config": None}
    set_fields("config.json", architectures=None, **wrong)(folder)
    mp.save(mp.Classifier(mp.load(folder), 3), tmp_path / "n")
    settings = read(tmp_path / "n/config.json")
    assert not settings.keys() & wrong.keys() and settings["dtype"] == "float32"
    assert settings["architectures"] == ["GPT2ForSequenceClassification"]
    assert settings["id2label"] == {str(i): f"LABEL_{i}" for i in range(3)}
    assert settings["label2id"] == {f"LABEL_{i}": i for i in range(3)}
    assert settings["ours"] == EXTRA["ours"]
    set_fields("config.json", quantization_config={})(folder)
    assert "quantization_config" not in mp.load(folder).folder_settings


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_model_type_and_the_settings_of_every_family_stay(tmp_path, model_type):
    models = {"gpt2": GPT2, "bert": BERT, "t5": T5, "bart": BART}
    model = models.get(model_type, LLAMA)
    if model_type in ("roberta", "xlm-roberta", "camembert"):
        model = encoder(ROBERTA)
    elif model_type == "distilbert":
        model = encoder(DISTILBERT)
    fields = {
        "llama": {},
        "qwen2": {"biases": ("q", "k", "v")},
        "mistral": {"window": 6},
    }
    if model_type in fields:
        config = mp.Config(
            **vars(LLAMA.config) | {"biases": (), "window": None} | fields[model_type]
        )
        model = mp.Decoder(config, np.random.default_rng(0))
    mp.save(model, tmp_path / "m")
    fields = {"model_type": model_type, "attention_dropout": 0.0, "ours": 1}
    set_fields("config.json", **fields)(tmp_path / "m")
    before = mp.load(tmp_path / "m")
    mp.save(before, tmp_path / "n")
    settings = read(tmp_path / "n/config.json")
    assert settings["model_type"] == model_type and settings["ours"] == 1
    assert mp.load(tmp_path / "n").config == before.config


def test_the_scaling_of_rotary_positions_is_written_for_old_and_new_programs(tmp_path):
    scaling = {"biases": (), "window": None, "rope_scaling": (8.0, 1.0, 4.0, 16)}
    config = mp.Config(**vars(LLAMA.config) | scaling)
    mp.save(mp.Decoder(config, np.random.default_rng(0)), tmp_path / "m")
    settings = read(tmp_path / "m/config.json")
    assert settings["rope_scaling"] == settings["rope_parameters"]
    for name in ("rope_scaling", "rope_parameters"):  # of transformers 4, and 5
        rope = {n: x for n, x in settings[name].items() if n != "rope_theta"}
        others = {"rope_scaling": None, "rope_parameters": None} | {name: rope}
        set_fields("config.json", **others)(tmp_path / "m")
        mp.save(mp.load(tmp_path / "m"), tmp_path / "n")
        assert read(tmp_path / "n/config.json") == settings


def test_a_mistral_without_a_window_stays_one(tmp_path):
    config = mp.Config(**vars(LLAMA.config) | {"biases": (), "window": None})
    mp.save(mp.Decoder(config, np.random.default_rng(0)), tmp_path / "m")
    mistral = {"model_type": "mistral", "sliding_window": None}
    set_fields("config.json", architectures=["MistralForCausalLM"], **mistral)(tmp_path / "m")
    mp.save(mp.load(tmp_path / "m"), tmp_path / "n")
    assert read(tmp_path / "n/config.json") == read(tmp_path / "m/config.json")
    mp.save(mp.SpanClassifier(mp.load(tmp_path / "m")), tmp_path / "spans")
    assert mp.load(tmp_path / "spans").config == mp.load(tmp_path / "m").config


def test_special_tokens_that_a_folder_leaves_out_stay_out(tmp_path, folder):
    settings = {n: x for n, x in read(folder / "config.json").items() if "token_id" not in n}
    (folder / "config.json").write_text(json.dumps(settings))
    mp.save(mp.load(folder), tmp_path / "n")
    assert read(tmp_path / "n/config.json") == settings


# -- where a text begins and ends


def test_the_end_of_a_text_is_what_the_first_file_says(folder):
    def ends():
        model, tokenizer = mp.load(folder), mp.load_tokenizer(folder)
        return bos_id(model, tokenizer), eos_ids(model, tokenizer)

    assert ends() == (1, [4, 5])  # bos is in config.json alone
    set_fields("generation_config.json", eos_token_id=7, bos_token_id=8)(folder)
    assert ends() == (8, [7])
    (folder / "generation_config.json").unlink()
    assert ends() == (1, [2, 3])
    set_fields("config.json", bos_token_id=None, eos_token_id=None)(folder)
    assert ends() == (5, [6])  # f of special_tokens_map.json, g of tokenizer_config.json
    set_fields("special_tokens_map.json", eos_token="c")(folder)
    assert ends() == (5, [6])
    set_fields("tokenizer_config.json", eos_token=None)(folder)
    assert ends() == (5, [2])
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / file).unlink()
    assert ends() == (None, [])
    set_fields("config.json", eos_token_id=V + 9)(folder)  # of another vocabulary
    assert ends() == (None, [])


def test_generate_stops_at_an_end_of_generation_config(folder, run, capsys):
    ids = [[0, 1, 2]]
    third = int(mp.generate(mp.load(folder), ids, max_new_tokens=3, temperature=0)[0, 2])
    set_fields("generation_config.json", eos_token_id=[V - 1, third])(folder)
    command = ["generate", "--model", folder, "--prompt", "b c", "--temperature", "0", "--json"]
    assert run(*command, "--max-new-tokens", "9") == 0
    assert json.loads(capsys.readouterr().out)["new_tokens"] <= 3


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(
    "name, value",
    [("eos_token_id", "2"), ("eos_token_id", [2, None]), ("eos_token_id", True)]
    + [("eos_token_id", 2.0), ("bos_token_id", [1]), ("pad_token_id", {})],
)
def test_a_malformed_token_id_is_one_error(folder, file, name, value):
    set_fields(file, **{name: value})(folder)
    with pytest.raises(CheckpointError, match=rf"/{file}: {name}=.* must be a token id"):
        mp.load(folder)


@pytest.mark.parametrize(
    "file, text, message",
    [
        ("generation_config.json", "[1]", "must hold a JSON object"),
        ("generation_config.json", "{", "is not JSON"),
        ("tokenizer_config.json", "{", "is not JSON"),
        ("special_tokens_map.json", "3", "must hold a JSON object"),
        ("tokenizer_config.json", '{"eos_token": 3}', "eos_token=3 must be a text"),
        ("tokenizer_config.json", '{"eos_token": {"content": []}}', "eos_token=.* must be a text"),
    ],
)
def test_a_malformed_file_is_one_error(folder, file, text, message):
    (folder / file).write_text(text)
    with pytest.raises(CheckpointError, match=f"{file}:? {message}"):
        mp.load(folder) and mp.load_tokenizer(folder)


def test_transformers_reads_the_same_as_from_the_folder(tmp_path, folder, run):
    transformers = pytest.importorskip("transformers")
    set_fields("tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")(folder)
    (folder / "tokenizer.model").unlink()
    assert run("convert", folder, tmp_path / "n") == 0
    folders = folder, tmp_path / "n"
    old, new = map(transformers.AutoTokenizer.from_pretrained, folders)
    assert new.chat_template == old.chat_template and new.padding_side == old.padding_side == "left"
    assert new.eos_token == old.eos_token == "g" and new.bos_token == old.bos_token
    old, new = map(transformers.AutoModelForCausalLM.from_pretrained, folders)
    assert new.config.to_diff_dict() == old.config.to_diff_dict()
    assert new.generation_config.to_dict() == old.generation_config.to_dict()
    assert new.generation_config.eos_token_id == eos_ids(mp.load(folder), mp.load_tokenizer(folder))


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_settings_that_are_nested_too_deep_are_one_error(tmp_path, folder, file):
    set_fields(file, ours=f"<{'[' * 60 + ']' * 60}>")(folder)
    mp.save(mp.load(folder).astype("float64"), tmp_path / "n")
    assert read(tmp_path / "n" / file)["ours"] == read(folder / file)["ours"]
    for nested in (NESTED, "[" * 64 + "]" * 64):
        set_fields(file, ours=f"<{nested}>")(folder)
        with pytest.raises(CheckpointError, match=f"{file} is nested more than 64 deep"):
            mp.load(folder)
