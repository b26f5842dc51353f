"""Folders of adaptations that are malformed, not supported, or of another base model."""

import numpy as np
import pytest

from minipeft import Config
from minipeft.hf import CheckpointError, load_adaptation, save
from tests.hf.test_adaptation_folders import LORA, lora_arrays
from tests.support import families
from tests.support.families import attached, decoder, encoder
from tests.support.folder_edits import (
    ADAPTER,
    ENCODER,
    TENSORS,
    all_of,
    edit_tensor,
    edit_tensors,
    remove,
    set_fields,
    truncate,
    write,
)
from tests.support.folders import GPT2, SAVED, write_adaptation

P = "prompt_embeddings"


def set_config(**fields):
    return set_fields(ADAPTER, **fields)


BROKEN = {  # method, edit of its folder, message of the error
    "no config": ("lora", remove(ADAPTER), r"adapter_config\.json: no such file"),
    "a pickle": (
        "lora",
        all_of(remove(TENSORS), write("adapter_model.bin", b"cos\nsystem\n(S'false'\ntR.")),
        "pickles .* never opened",
    ),
    "truncated": ("lora", truncate(TENSORS, 10), "is not a valid safetensors file"),
    "another method": (
        "lora",
        set_config(peft_type="VERA"),
        "'VERA' is not supported, only PROMPT_TUNING, P",
    ),
    "no type": ("lora", set_config(peft_type=None), "peft_type=None is not supported"),
    "a type of numbers": ("lora", set_config(peft_type=[1]), r"peft_type=\[1\] must be a str"),
    "dora": ("lora", set_config(use_dora=True), "c_attn.lora_magnitude_vector is missing"),
    "biases": ("lora", set_config(bias="all"), r"wte|ln_1\.bias is missing"),
    "some biases": ("lora", set_config(bias="some"), "bias='some' is not supported, only 'none'"),
    "qalora": ("lora", set_config(use_qalora=True), "use_qalora=True is not supported"),
    "pissa": ("lora", set_config(init_lora_weights="pissa"), "'pissa' is not supported"),
    "a rank that is a string": ("lora", set_config(r="2"), "r='2' must be a positive int"),
    "another rank": (
        "lora",
        set_config(r=7),
        r"lora_A\.weight has shape \(4, 8\), but must have \(7, 8\)",
    ),
    "no layers": ("lora", set_config(target_modules=["q_proj"]), "no layer matches"),
    "more layers": (
        "lora",
        set_config(target_modules=["c_attn", "c_fc"]),
        r"c_fc\.lora_A.* missing",
    ),
    "fewer layers": (
        "lora",
        set_config(layers_to_transform=[1]),
        r"unexpected tensors, h\.0\.attn\.c_attn",
    ),
    "no pattern": (
        "lora",
        set_config(target_modules="("),
        r"target_modules='\(' is not a valid pattern",
    ),
    "alpha": (
        "lora",
        set_config(lora_alpha=float("nan")),
        "lora_alpha=nan must be a finite float",
    ),
    "patterns": (
        "lora",
        set_config(rank_pattern=[3]),
        r"rank_pattern must hold a JSON object, not",
    ),
    "a pattern's rank": (
        "lora",
        set_config(rank_pattern={"c_attn": "4"}),
        "rank_pattern: c_attn='4' must be a positive int",
    ),
    "length": (
        "prefix of 2",
        set_config(num_virtual_tokens=3),
        r"has shape \(2, 32\), but must have \(3, 32\)",
    ),
    "width": (
        "prompt of 3",
        set_config(token_dim=16),
        "token_dim=16 is not supported, only 8; it was",
    ),
    "depth": ("prefix of 2", set_config(num_layers=12), "num_layers=12 .* made for another base"),
    "infinity": (
        "prompt of 3",
        edit_tensor(TENSORS, P, lambda x: x * np.inf),
        f"{P} holds NaN or infinity",
    ),
    "no tensor": ("prompt of 3", edit_tensors(TENSORS, lambda ts: ts.pop(P)), f"{P} is missing"),
    "two tensors": (
        "prompt of 3",
        edit_tensors(TENSORS, lambda ts: ts.update(x=ts[P])),
        "unexpected tensors, x",
    ),
    "bottleneck": (
        "houlsby",
        set_config(bottleneck=4),
        r"attn\.o\.D has shape \(8, 3\), but must have \(8, 4\)",
    ),
    "a huge bottleneck": ("houlsby", set_config(bottleneck=10**15), "far larger than the file"),
    "a method of none": (
        "houlsby",
        set_config(peft_type="MINIPEFT_ENCODED"),
        "the field method is missing",
    ),
    "no reparametrisation": (
        "encoded prompt",
        remove(ENCODER),
        r"reparametrization\.safetensors: no such file",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_adaptation_is_refused_by_name(tmp_path, case):
    name, edit, message = BROKEN[case]
    save(attached(name, GPT2), tmp_path / "a")
    edit(tmp_path / "a")
    with pytest.raises(CheckpointError, match=message):
        load_adaptation(tmp_path / "a", GPT2, resume=True)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"layers_to_transform": [0, 2]}, r"layers_to_transform=\[0, 2\] must be .* 0 to 1"),
        ({"layers_pattern": "blocks", "layers_to_transform": 1}, "layers_pattern='blocks' is not"),
        ({"target_modules": ["lm_head"]}, "lm_head.lora_A.weight is missing"),
        ({"target_modules": ["ln_1"]}, "h.0.ln_1 has no matrix that"),
    ],
)
def test_a_lora_of_layers_that_do_not_exist_is_refused(tmp_path, fields, message):
    folder = write_adaptation(tmp_path / "a", LORA | fields, lora_arrays())
    with pytest.raises(CheckpointError, match=message):
        load_adaptation(folder, GPT2)


@pytest.mark.parametrize("name", SAVED)
def test_an_adaptation_of_another_base_is_refused(tmp_path, name):
    save(attached(name, GPT2), tmp_path / "a")
    others = {
        "width=8, and this model has 16": decoder(Config(13, 16, 2, 2, 32)),
        "layers=2, and this model has 3": decoder(Config(13, 8, 3, 2, 32)),
        "weights='.*', and this model has '": decoder(families.GPT2),  # of the same shapes
        "post_norm=False, and this model has True": encoder(families.BERT),
    }
    for message, other in others.items():
        with pytest.raises(CheckpointError, match=f"was made for another base.*: .*{message}"):
            load_adaptation(tmp_path / "a", other)
    load_adaptation(tmp_path / "a", GPT2.astype(np.float32))


def test_a_wrong_argument_is_not_a_broken_folder(tmp_path):
    save(attached("lora", GPT2), tmp_path / "a")
    with pytest.raises(ValueError, match="compat='PEFT' must be None or 'peft'") as caught:
        load_adaptation(tmp_path / "a", GPT2, compat="PEFT")
    assert caught.type is ValueError
    with pytest.raises(TypeError, match="model must be a model, not a str"):
        load_adaptation(tmp_path / "a", "gpt2")
