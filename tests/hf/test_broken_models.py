"""Folders of models that are malformed or not supported, and models that no folder can hold."""

from dataclasses import replace

import numpy as np
import pytest

from minipeft import PLAIN, Chain, Classifier, Config, Each, Encoder, LoRA, Tensor, stack
from minipeft.hf import CheckpointError, load, load_adaptation, load_tokenizer, save
from tests.support import families
from tests.support.families import NONE, ROTARY, C, attached, decoder, encoder
from tests.support.folder_edits import (
    CONFIG,
    MODEL,
    all_of,
    edit_tensor,
    edit_tensors,
    remove,
    set_fields,
    truncate,
    write,
)
from tests.support.folders import BERT, GPT2, LLAMA

INVALID = "is not a valid safetensors file"
PICKLE = b"cos\nsystem\n(S'false'\ntR."
WTE, C_FC = "transformer.wte.weight", "transformer.h.0.mlp.c_fc.weight"


def set_config(**fields):
    return set_fields(CONFIG, **fields)


def drop(name):
    return edit_tensors(MODEL, lambda tensors: tensors.pop(name))


def add(name, make):
    """Add the tensor make({name: array})."""
    return edit_tensors(MODEL, lambda tensors: tensors.update({name: make(tensors)}))


BROKEN = {  # edit of a GPT-2's folder, message of the error
    "no config": (remove(CONFIG), r"config\.json: no such file; the folder has model\.safe"),
    "no tensors": (remove(MODEL), r"model\.safetensors: no such file"),
    "a pickle": (
        all_of(remove(MODEL), write("pytorch_model.bin", PICKLE)),
        "pickles .* never opened",
    ),
    "a pickle by another name": (write(MODEL, b"\x80\x04\x95" * 9), INVALID),
    "empty": (write(MODEL, b""), INVALID),
    "truncated": (truncate(MODEL, 10), INVALID),
    "Python": (write(CONFIG, b"{'a': 1}"), r"config\.json is not JSON"),
    "not UTF-8": (write(CONFIG, b"\xff\xfe\x00"), r"config\.json is not JSON"),
    "deep": (write(CONFIG, b"[" * 10**5), r"config\.json is not JSON"),
    "a list": (write(CONFIG, b"[1]"), r"must hold a JSON object, not \[1\]"),
    "another family": (
        set_config(model_type="opt"),
        "model_type='opt' is not supported, only 'gpt2' or 'llama' or 'qwen2' or 'mistral' or ",
    ),
    "no family": (set_config(model_type=None), "model_type='' is not supported"),
    "activation": (
        set_config(activation_function="relu"),
        "'relu' is not supported, only 'gelu_new'",
    ),
    "cross-attention": (
        set_config(add_cross_attention=True),
        "add_cross_attention=True is not supported",
    ),
    "scale": (set_config(scale_attn_weights=False), "scale_attn_weights=False is not supported"),
    "inverse": (
        set_config(scale_attn_by_inverse_layer_idx=True),
        "inverse_layer_idx=True is not",
    ),
    "upcast": (set_config(reorder_and_upcast_attn=True), "reorder_and_upcast_attn=True is not"),
    "a width that is a string": (set_config(n_embd="8"), "n_embd='8' must be a positive int"),
    "no layers": (set_config(n_layer=0), "n_layer=0 must be a positive int"),
    "too many layers": (set_config(n_layer=10**9), r"h\.999999999\.mlp\.c_fc\.weight is missing"),
    "too wide": (
        set_config(n_embd=10**12),
        r"wte\.weight has shape \(13, 8\), but must have \(13, 1000",
    ),
    "heads": (set_config(n_head=3), "width 8 must be a multiple of heads 3"),
    "labels": (set_config(id2label=5), "id2label=5 must be a dict"),
    "an infinite eps": (set_config(layer_norm_epsilon=float("inf")), "eps.* must be a finite flo"),
    "missing": (drop("transformer.ln_f.bias"), r"ln_f\.bias is missing"),
    "unexpected": (add("x", lambda ts: ts[WTE]), "unexpected tensors, x"),
    "shape": (
        edit_tensor(MODEL, C_FC, np.transpose),
        r"c_fc\.weight has shape \(32, 8\), but must have \(8, 32\)",
    ),
    "integers": (
        edit_tensor(MODEL, C_FC, lambda x: x.astype(int)),
        r"c_fc\.weight is I64, not one of",
    ),
    "NaN": (edit_tensor(MODEL, C_FC, lambda x: x * np.nan), r"c_fc\.weight holds NaN"),
    "untied": (
        add("lm_head.weight", lambda ts: ts[WTE] + 1),
        r"lm_head\.weight differs from wte\.weight",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_is_refused_by_name(tmp_path, case):
    save(GPT2, tmp_path / "m")
    edit, message = BROKEN[case]
    edit(tmp_path / "m")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "m")


@pytest.mark.parametrize(
    "edit, message",
    [
        (set_config(hidden_act="relu"), "hidden_act='relu' is not supported, only 'gelu'"),
        (set_config(position_embedding_type="relative_key"), "'relative_key' is not supported"),
        (set_config(is_decoder=True), "is_decoder=True is not supported"),
        (set_config(tie_word_embeddings=False), "tie_word_embeddings=False is not supported"),
        (set_config(num_hidden_layers=10**9), r"999999999\.intermediate\.dense\.weight is missing"),
        (
            edit_tensor(MODEL, "bert.pooler.dense.weight", lambda x: x[:3]),
            r"pooler.* has shape \(3, 8\), but must have",
        ),
        (
            add("cls.predictions.decoder.bias", lambda ts: np.ones(13)),
            r"cls\.predictions\.decoder\.bias differs from cls\.predictions\.bias",
        ),
        (add("x", lambda ts: np.ones(3)), "unexpected tensors, x"),
    ],
)
def test_a_broken_encoder_is_refused_by_name(tmp_path, edit, message):
    save(BERT, tmp_path / "m")
    edit(tmp_path / "m")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "m")


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
SLIDING, FULL = "sliding_attention", "full_attention"
UPPER_LAYERS = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
NOT_SUPPORTED = {  # settings of a Llama's folder, message of the error
    "an activation": ({"hidden_act": "gelu"}, "hidden_act='gelu' is not supported"),
    "yarn": ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn' is not supported"),
    "an old name": ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "'linear' is"),
    "rotary positions of a part": (
        {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        "partial_rotary_factor=0.5 is not supported",
    ),
    "rotary positions of a part, as an old setting": (
        {"partial_rotary_factor": 0.5},
        "partial_rotary_factor=0.5 is not supported",
    ),
    "two scalings": ({"rope_scaling": LLAMA3}, "rope_scaling=.* differ: keep one"),
    "half a scaling": (
        {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}},
        "needs factor, low_freq_factor",
    ),
    "a factor of 0": ({"rope_parameters": LLAMA3 | {"factor": 0.0}}, "0 < factor"),
    "a theta of 0": (
        {"rope_parameters": {"rope_theta": 0.0}},
        "rope_theta=0.0 must be greater than 0",
    ),
    "a window of some layers": (
        {"model_type": "mistral", "sliding_window": 3, "layer_types": [SLIDING, FULL]},
        "sliding_window=3 applies to some of the layers",
    ),
    "a window of no layers": (  # transformers' Mistral has it in all
        {"model_type": "mistral", "sliding_window": 3, "layer_types": [FULL, FULL]},
        "sliding_window=3 applies to some of the layers",
    ),
    "a window of the upper layers": (
        {"model_type": "qwen2"} | UPPER_LAYERS,
        "sliding_window=3 applies to some of the layers",
    ),
}


@pytest.mark.parametrize("case", NOT_SUPPORTED)
def test_settings_that_are_not_supported_are_refused_by_name(tmp_path, case):
    fields, message = NOT_SUPPORTED[case]
    save(decoder(replace(LLAMA.config, biases=(), window=None)), tmp_path / "m")
    set_config(**fields)(tmp_path / "m")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "m")


def test_a_missing_folder_is_named(tmp_path):
    for read in (load, load_tokenizer, lambda folder: load_adaptation(folder, GPT2)):
        with pytest.raises(CheckpointError, match="there is no folder"):
            read(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        load_tokenizer(tmp_path)


# -- what can't be saved


@pytest.mark.parametrize(
    "config, message",
    [
        (ROTARY, "GPT-2 has positions='learned', not 'rotary'; Llama has activation='silu', not"),
        (NONE, "Llama has positions='rotary', not 'none'"),
    ],
)
def test_a_configuration_of_no_family_is_refused(tmp_path, config, message):
    model = decoder(config)
    for thing in (model, *(attached(n, model) for n in ("lora", "prompt of 3", "encoded prefix"))):
        with pytest.raises(CheckpointError, match=message):
            save(thing, tmp_path / "x")
    save(attached("houlsby", model), tmp_path / "own")  # minipeft's own format holds it
    assert [p.name for p in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize(
    "config, message",
    [
        (replace(LLAMA.config, biases=("q", "k", "v", "o")), "window=6"),  # Mistral has no biases
        (replace(LLAMA.config, biases=(), layers=0), "num_hidden_layers=0 must be a positive int"),
        (replace(families.BERT, token_types=0), "type_vocab_size=0 must be a positive int"),
    ],
)
def test_a_model_that_would_be_loaded_as_another_is_not_saved(tmp_path, config, message):
    with pytest.raises(CheckpointError, match=message):
        save(decoder(config) if config.causal else encoder(config), tmp_path / "x")
    assert not any(tmp_path.iterdir())


def test_what_has_no_format_is_refused(tmp_path):
    users = [attached("lora", GPT2, user) for user in range(2)]
    huge = GPT2.map(lambda t: Tensor(t.data + 1e6))
    refused = [
        (stack(users), {}, "a bank of several users can't be saved"),
        (Each(users), {}, "an Each can't be saved"),
        (Chain(Each(users), attached("ia3", GPT2)), {}, "an Each can't be saved"),
        (PLAIN, {}, "no parameters to save"),
        (GPT2, {"dtype": "int32"}, "dtype=int32 must be float16"),
        (GPT2, {"dtype": "float8"}, "dtype=float8 must be float16, .*bfloat16"),
        (huge, {"dtype": "float16"}, "holds NaN or infinity as float16"),
        (Classifier(GPT2, C, "mean"), {}, "GPT-2's classifiers have pool='last', not 'mean'"),
        (Classifier(GPT2, C, bias=True), {}, "GPT-2's classifiers have no score.bias"),
    ]
    for thing, options, message in refused:
        with pytest.raises(CheckpointError, match=message):
            save(thing, tmp_path / "x", **options)
    for thing, hint in ((2, "got 2$"), (LoRA(), "got LoRA.*: attach it first")):
        with pytest.raises(TypeError, match=f"save takes a model or an adaptation; {hint}"):
            save(thing, tmp_path / "x")
    with pytest.raises(TypeError, match="tokenizer must be a Tokenizer, not a str"):
        save(GPT2, tmp_path / "x", "tokenizer.json")
    odd = Encoder(Config(13, 8, 2, 2, 32, causal=False), np.random.default_rng(0))
    with pytest.raises(CheckpointError, match="BERT has activation='gelu', not 'gelu_tanh'"):
        save(odd, tmp_path / "x")
    assert not any(tmp_path.iterdir())
