"""Settings of config.json as a Config, and back."""

import json
from pathlib import Path

import pytest

from minipeft import BartConfig, BertConfig, Config, DistilBertConfig, RobertaConfig, T5Config
from minipeft.hf.models import FAMILIES, family_of
from minipeft.model.config import LINEARS
from minipeft.storage.json import CheckpointError, Settings
from tests.support.families import BART, BERT, GPT2, LLAMA, T5, T5_GATED

ROTARY = {"positions": "rotary", "norm": "rms", "gated": True, "activation": "silu", "eps": 1e-6}
SEVEN = (32000, 4096, 32, 32, 2048)
DEFAULTS = {  # of transformers
    "gpt2": Config(50257, 768, 12, 12, 1024),
    "llama": Config(*SEVEN, ffn_width=11008, **ROTARY, tied_head=False, biases=()),
    "qwen2": Config(
        151936,
        *SEVEN[1:4],
        32768,
        ffn_width=22016,
        **ROTARY,
        tied_head=False,
        biases=("q", "k", "v"),
    ),
    "mistral": Config(
        *SEVEN[:4],
        131072,
        key_heads=8,
        ffn_width=14336,
        **ROTARY,
        tied_head=False,
        biases=(),
        window=4096,
    ),
    "bert": BertConfig(30522, 768, 12, 12, 512),
    "roberta": BertConfig(50265, 768, 12, 12, 510, position_offset=2),
    "xlm-roberta": BertConfig(30522, 768, 12, 12, 510, position_offset=2),
    "camembert": BertConfig(30522, 768, 12, 12, 510, position_offset=2),
    "distilbert": DistilBertConfig(30522, 768, 6, 12, 512),
    "t5": T5Config(32128, 512, 6, 8, 512, decoder_layers=6, max_distance=128),
    "bart": BartConfig(50265, 1024, 12, 16, 1024, decoder_layers=12),
}
SLIDING, FULL = "sliding_attention", "full_attention"
LLAMA3 = {  # of Llama 3.1
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
}


def config(model_type, **fields):
    settings = Settings({"model_type": model_type} | fields, Path("config.json"))
    return FAMILIES[model_type].to_config(settings)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_missing_settings_have_the_defaults_of_transformers(model_type):
    assert config(model_type) == DEFAULTS[model_type]


@pytest.mark.parametrize(
    ("model_type", "settings", "fields"),
    [
        ("llama", {"num_key_value_heads": 32, "head_dim": 128}, {"head_width": None}),
        ("llama", {"num_key_value_heads": 32}, {"key_heads": None}),
        ("llama", {"num_key_value_heads": 4, "head_dim": 64}, {"key_heads": 4, "head_width": 64}),
        ("llama", {"intermediate_size": 4 * 4096}, {"ffn_width": None}),
        ("llama", {"sliding_window": 5}, {"window": None}),
        ("llama", {"attention_bias": True}, {"biases": ("q", "k", "v", "o")}),
        ("llama", {"mlp_bias": True}, {"biases": ("gate", "up", "down")}),
        ("qwen2", {"attention_bias": False}, {"biases": ("q", "k", "v")}),
        ("mistral", {"attention_bias": True}, {"biases": ()}),
        ("llama", {"rope_theta": 5e5}, {"rope_theta": 5e5}),
        ("llama", {"rope_parameters": {"rope_theta": 5e5}, "rope_theta": 3.0}, {"rope_theta": 5e5}),
        (
            "llama",
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5} | LLAMA3},
            {"rope_theta": 5e5, "rope_scaling": (8.0, 1.0, 4.0, 8192)},
        ),
        (
            "llama",
            {"rope_scaling": {"type": "llama3"} | LLAMA3, "rope_theta": 5e5},
            {"rope_theta": 5e5, "rope_scaling": (8.0, 1.0, 4.0, 8192)},
        ),
        ("mistral", {"sliding_window": None}, {"window": None}),
        ("mistral", {"sliding_window": 3}, {"window": 3}),
        ("mistral", {"layer_types": [FULL] * 32, "sliding_window": None}, {"window": None}),
        ("mistral", {"layer_types": [SLIDING] * 32}, {"window": 4096}),
        ("qwen2", {"sliding_window": 3}, {"window": None}),
        ("qwen2", {"sliding_window": 3, "use_sliding_window": False}, {"window": None}),
        (
            "qwen2",
            {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 0},
            {"window": 3},
        ),
        (
            "qwen2",
            {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 32},
            {"window": None},
        ),
        (
            "qwen2",
            {"sliding_window": 3, "use_sliding_window": True, "layer_types": [SLIDING] * 32},
            {"window": 3},
        ),
        ("gpt2", {"n_inner": 3072}, {"ffn_width": None}),
        (
            "gpt2",
            {"n_inner": 5, "tie_word_embeddings": False},
            {"ffn_width": 5, "tied_head": False},
        ),
        (
            "bert",
            {"type_vocab_size": 3, "intermediate_size": 5},
            {"token_types": 3, "ffn_width": 5},
        ),
        (
            "roberta",
            {"pad_token_id": 0, "max_position_embeddings": 40, "type_vocab_size": 1},
            {"position_offset": 1, "length": 39, "token_types": 1},
        ),
        ("distilbert", {"hidden_dim": 5, "sinusoidal_pos_embds": True}, {"ffn_width": 5}),
    ],
    ids=str,
)
def test_settings_become_fields(model_type, settings, fields):
    read = config(model_type, **settings)
    assert {name: getattr(read, name) for name in fields} == fields


UPPER_LAYERS = {"use_sliding_window": True, "sliding_window": 3}


@pytest.mark.parametrize(
    ("model_type", "settings", "message"),
    [
        ("t5", {"feed_forward_proj": "gated-tanh"}, "feed_forward_proj='gated-tanh'"),
        ("t5", {"is_encoder_decoder": False}, "is_encoder_decoder=False"),
        ("t5", {"decoder_start_token_id": -1}, "decoder_start_token_id=-1 must be a token id"),
        ("t5", {"decoder_start_token_id": 40000}, "decoder_start=40000 must be a token id below"),
        ("t5", {"relative_attention_num_buckets": 3}, "buckets=3 must be even and at least 4"),
        ("bart", {"scale_embedding": True}, "scale_embedding=True"),
        ("bart", {"decoder_ffn_dim": 8}, "decoder_ffn_dim=8 is not supported, only 4096"),
        ("bart", {"decoder_attention_heads": 8}, "decoder_attention_heads=8 is not supported"),
        ("gpt2", {"activation_function": "gelu"}, "activation_function='gelu'"),  # the exact one
        ("gpt2", {"scale_attn_weights": 1}, "scale_attn_weights=1 is not supported"),
        ("bert", {"hidden_act": "gelu_new"}, "hidden_act='gelu_new'"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ("bert", {"add_cross_attention": True}, "add_cross_attention=True"),
        ("roberta", {"is_decoder": True}, "is_decoder=True"),
        ("camembert", {"position_embedding_type": "relative_key"}, "type='relative_key'"),
        ("roberta", {"max_position_embeddings": 2}, "max_position_embeddings=2 must be greater"),
        ("xlm-roberta", {"pad_token_id": -1}, "pad_token_id=-1 must be a token id"),
        ("distilbert", {"activation": "relu"}, "activation='relu'"),
        ("distilbert", {"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type='linear'"),
        ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn'"),
        ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "rotary_factor=0.5"),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "needs factor, low_freq_factor"),
        (
            "mistral",
            {"layer_types": [FULL] * 32},
            "sliding_window=4096 applies to some",
        ),
        (
            "mistral",
            {"layer_types": [FULL, SLIDING] * 16},
            "sliding_window=4096 applies to some",
        ),
        (
            "qwen2",
            UPPER_LAYERS,
            "sliding_window=3 applies to some",
        ),  # default: from layer 28
        (
            "qwen2",
            UPPER_LAYERS | {"max_window_layers": 31},
            "sliding_window=3 applies to some",
        ),
    ],
    ids=str,
)
def test_settings_that_are_not_supported_are_refused_by_name(model_type, settings, message):
    with pytest.raises(CheckpointError, match=f"config.json.*{message}"):
        config(model_type, **settings)


WIDE = {name: getattr(LLAMA, name) for name in vars(LLAMA)} | {"window": None, "biases": ()}


@pytest.mark.parametrize(
    ("c", "model_type"),
    [
        (GPT2, "gpt2"),
        (BERT, "bert"),
        (RobertaConfig(11, 12, 3, 4, 20, ffn_width=10), "roberta"),
        (RobertaConfig(11, 12, 3, 4, 20, token_types=2, eps=1e-12), "roberta"),
        (DistilBertConfig(11, 12, 3, 4, 20, ffn_width=10), "distilbert"),
        (T5, "t5"),
        (T5_GATED, "t5"),
        (BART, "bart"),
        (LLAMA, "qwen2"),
        (Config(**WIDE), "llama"),
        (Config(**WIDE | {"window": 6}), "mistral"),
        (Config(**WIDE | {"key_heads": None, "ffn_width": None, "tied_head": True}), "llama"),
        (Config(**WIDE | {"head_width": None, "heads": 2}), "llama"),
        (Config(**WIDE | {"rope_scaling": (8.0, 1.0, 4.0, 16), "rope_theta": 5e5}), "llama"),
        (Config(**WIDE | {"biases": LINEARS}), "llama"),
        (Config(**WIDE | {"biases": LINEARS[:4]}), "llama"),
        (Config(**WIDE | {"biases": LINEARS[4:]}), "llama"),
        (Config(**WIDE | {"biases": LINEARS[:3]}), "qwen2"),
        (BertConfig(11, 12, 3, 4, 20, ffn_width=10, token_types=3, eps=1e-5), "bert"),
        (Config(11, 12, 3, 4, 20, ffn_width=10, tied_head=False, eps=1e-6), "gpt2"),
        (
            Config(11, 12, 3, 4, 20, key_heads=4, head_width=3, ffn_width=48),
            "gpt2",
        ),  # defaults
    ],
)
def test_a_configuration_is_read_back_from_its_settings(c, model_type):
    settings = json.loads(json.dumps(family_of(c).to_settings(c)))
    again = config(**settings)
    derived = ("key_heads", "head_width", "ffn_width")
    assert settings["model_type"] == model_type
    special = {"bert": ["pad_token_id"], "t5": ["eos_token_id"], "distilbert": ["pad_token_id"]}
    special = special.get(model_type, ["bos_token_id", "eos_token_id"])
    assert all(settings[name] is None for name in special)  # transformers has other defaults
    assert all(getattr(again, n) == v for n, v in vars(c).items() if n not in derived)
    assert again.d == c.d and (again.key_heads or again.heads) == (c.key_heads or c.heads)
    assert (again.ffn_width or 4 * again.width) == (c.ffn_width or 4 * c.width)
