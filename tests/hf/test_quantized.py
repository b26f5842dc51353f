"""Models that are quantised, and names of the Hub, are refused by name before anything else."""

import json
import re

import numpy as np
import pytest

from minipeft import LoRA, load, load_adaptation, load_tokenizer, save
from minipeft.hf import CheckpointError
from tests.support.folder_edits import MODEL, remove, set_fields
from tests.support.folders import GPT2

BITSANDBYTES = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}
CONFIGS = {  # settings in config.json, and how the error describes them
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq, 4 bits"),
    "awq": ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq, 4 bits"),
    "bitsandbytes 4": (BITSANDBYTES | {"load_in_4bit": True}, "bitsandbytes, 4 bits"),
    "bitsandbytes 8": (BITSANDBYTES | {"load_in_8bit": True}, "bitsandbytes, 8 bits"),
    "old bitsandbytes": ({"load_in_8bit": True}, "bitsandbytes, 8 bits"),
    "fp8": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
    "compressed-tensors": ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
    "a name": ("hqq", "hqq"),
    "bits alone": ({"bits": 3}, "3 bits"),
}


@pytest.fixture
def folder(tmp_path):
    """A folder with other faults, too: of an unknown type, and without tensors."""
    save(GPT2, tmp_path / "m")
    set_fields("config.json", model_type="mixtral")(tmp_path / "m")
    remove(MODEL)(tmp_path / "m")
    return tmp_path / "m"


def message(file, what):
    return re.escape(f"{file}: the model is quantised{what}, which is not supported: use the model")


@pytest.mark.parametrize("case", CONFIGS)
def test_a_quantised_model_is_named_as_quantised(folder, case):
    settings, what = CONFIGS[case]
    for field in ("quantization_config", "quantization"):  # of transformers, of MLX
        set_fields("config.json", **{field: settings})(folder)
        with pytest.raises(CheckpointError, match=message("config.json", f" ({what})")):
            load(folder)
        set_fields("config.json", **{field: None})(folder)


@pytest.mark.parametrize(
    "file, content, what",
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": False}, "gptq, 4 bits"),
        ("quant_config.json", {"zero_point": True, "w_bit": 4}, "awq, 4 bits"),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, "modelopt"),
    ],
)
def test_a_file_of_another_program_says_that_a_model_is_quantised(folder, file, content, what):
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message(file, f" ({what})")):
        load(folder)


def test_every_command_names_a_quantised_model(folder, run, capsys):
    set_fields("config.json", quantization_config=CONFIGS["gptq"][0])(folder)
    for command in (
        ["info", folder],
        ["layers", "--model", folder],
        ["convert", folder, folder.with_name("new")],
        ["generate", "--prompt", "x", "--model", folder],
    ):
        assert run(*command) == 3
        error = capsys.readouterr().err
        assert "the model is quantised (gptq, 4 bits)" in error and error.count("\n") == 1
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


@pytest.mark.parametrize("odd", [[4], True, {"bits": "4"}, {"quant_method": {"a": 1}}, {"": []}])
def test_what_a_quantisation_does_not_say_is_left_out(folder, odd):
    set_fields("config.json", quantization_config=odd)(folder)
    with pytest.raises(CheckpointError, match=message("config.json", "")):
        load(folder)


def test_settings_of_no_quantisation_are_no_error(tmp_path):
    save(GPT2, tmp_path / "m")
    set_fields("config.json", quantization_config=None, compression_config={})(tmp_path / "m")
    assert load(tmp_path / "m").config == GPT2.config


@pytest.mark.parametrize("name", ["gpt2", "meta-llama/Llama-3.2-1B"])
def test_a_name_of_the_hub_is_not_fetched(tmp_path, monkeypatch, run, capsys, name):
    monkeypatch.chdir(tmp_path)
    hint = f"names of the Hub are not fetched: hf download {name} --local-dir {name}"
    for read in (load, load_tokenizer, lambda name: load_adaptation(name, GPT2)):
        for given in (name, f"./{name}/", f"https://huggingface.co/{name}"):
            with pytest.raises(CheckpointError, match=re.escape(f"; {hint}")):
                read(given)
    save(LoRA().attach(load(), np.random.default_rng(0)), "lora")
    for command in (
        ["layers", "--model", name],
        ["info", name],
        ["convert", name, "new"],
        ["convert", "lora", "new", "--model", name],
        ["generate", "--prompt", "x", "--model", name],
        ["generate", "--prompt", "x", "--adaptation", name],
    ):
        assert run(*command) == 3 and hint in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["lora"]


def test_a_path_is_no_name_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(GPT2, "models/m")
    for path in ("models/n", "models/m/n/o", tmp_path / "gpt2", "../gpt2"):
        with pytest.raises(CheckpointError, match=f"there is no folder {path}$"):
            load(path)
    with pytest.raises(CheckpointError, match=f"^models/m/{MODEL} is a file: give the folder that"):
        load(f"models/m/{MODEL}")
