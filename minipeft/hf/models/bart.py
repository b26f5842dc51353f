"""BART: names and settings of transformers."""

import numpy as np

from ...model.config import LINEARS, Config
from ...model.encoder_decoder import BartConfig
from ...storage.json import CheckpointError, Settings
from .family import Family, config_from, settings_from

FIELDS = {  # our field: (name in config.json, transformers' default, type)
    "vocabulary": ("vocab_size", 50265, int),
    "width": ("d_model", 1024, int),
    "layers": ("encoder_layers", 12, int),
    "decoder_layers": ("decoder_layers", 12, int),
    "heads": ("encoder_attention_heads", 16, int),
    "length": ("max_position_embeddings", 1024, int),
    "ffn_width": ("encoder_ffn_dim", 4096, int),
    "tied_head": ("tie_word_embeddings", True, bool),
}
OFFSET = 2  # row of the position table for position 0
SUPPORTED = {  # settings, and the values for which our network computes the same
    "activation_function": ("gelu",),
    "scale_embedding": (False,),
    "is_encoder_decoder": (True,),
    "normalize_before": (False,),
    "normalize_embedding": (True,),
    "add_final_layer_norm": (False,),
    "static_position_embeddings": (False,),
    "extra_pos_embeddings": (OFFSET,),
}


def to_config(settings: Settings) -> Config:
    """Return the configuration that the settings describe."""
    settings.check_supported(SUPPORTED)
    for name in ("heads", "ffn_width"):
        field, default, kind = FIELDS[name]
        both = field.replace("encoder", "decoder"), settings.field(field, default, kind)
        settings.check_supported({both[0]: both[1:]}, f", as {field}")
    return config_from(
        settings,
        FIELDS,
        BartConfig,
        decoder_start=settings.token_id("decoder_start_token_id", 2),
    )


def to_settings(c: Config) -> dict:
    """Return the settings that describe a configuration."""
    ffn_width = c.ffn_width or 4 * c.width
    return settings_from(c, FIELDS) | {
        "model_type": "bart",
        "encoder_ffn_dim": ffn_width,
        "decoder_ffn_dim": ffn_width,
        "decoder_attention_heads": c.heads,
        "decoder_start_token_id": c.decoder_start,
        "activation_function": "gelu",
        "is_encoder_decoder": True,
        "bos_token_id": None,  # transformers' defaults belong to another vocabulary
        "eos_token_id": None,
        "pad_token_id": None,
        "forced_eos_token_id": None,
    }


class Bart(Family):
    """A family whose files have a bias of the logits, which is 0."""

    def empty_model(self, settings, file, c):
        if np.any(file.pop("final_logits_bias", 0)):
            raise CheckpointError(f"{file.path}: final_logits_bias other than 0 is not supported")
        return super().empty_model(settings, file, c)


BART = Bart(
    name="BART",
    class_prefixes={"bart": "Bart"},
    lm_suffix="ForConditionalGeneration",
    base_model_prefix="model.",
    blocks="layers",
    layers={
        "tokens": "embed_tokens",
        "positions": "embed_positions",
        "ln": "layernorm_embedding",
        "attn.q": "self_attn.q_proj",
        "attn.k": "self_attn.k_proj",
        "attn.v": "self_attn.v_proj",
        "attn.o": "self_attn.out_proj",
        "ln1": "self_attn_layer_norm",
        "cross.q": "encoder_attn.q_proj",
        "cross.k": "encoder_attn.k_proj",
        "cross.v": "encoder_attn.v_proj",
        "cross.o": "encoder_attn.out_proj",
        "ln3": "encoder_attn_layer_norm",
        "mlp.up": "fc1",
        "mlp.down": "fc2",
        "ln2": "final_layer_norm",
        "head": "lm_head",
    },
    head_names={},
    supported={
        "positions": ("learned",),
        "position_offset": (OFFSET,),
        "norm": ("layer",),
        "eps": (1e-5,),
        "activation": ("gelu",),
        "gated": (False,),
        "biases": (LINEARS,),
        "key_heads": (None,),
        "head_width": (None,),
        "window": (None,),
        "post_norm": (True,),
        "causal": (False,),
        "token_types": (0,),
        "decoder_layers": range(1, 10**6),
    },
    to_config=to_config,
    to_settings=to_settings,
    lora_targets=("q_proj", "v_proj"),
    tied_names=(
        ("encoder.embed_tokens.weight", "shared.weight"),
        ("decoder.embed_tokens.weight", "shared.weight"),
        ("lm_head.weight", "shared.weight"),
    ),
)
