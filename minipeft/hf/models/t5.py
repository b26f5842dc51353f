"""T5 and its successors (T5 1.1, Flan-T5): names and settings of transformers."""

from dataclasses import replace

from ...model.config import Config
from ...model.encoder_decoder import T5Config
from ...storage.json import Settings
from ...storage.safetensors import SafetensorsFile
from .family import Family, config_from, settings_from

FIELDS = {  # our field: (name in config.json, transformers' default, type)
    "vocabulary": ("vocab_size", 32128, int),
    "width": ("d_model", 512, int),
    "layers": ("num_layers", 6, int),
    "heads": ("num_heads", 8, int),
    "head_width": ("d_kv", 64, int),
    "length": ("n_positions", 512, int),
    "ffn_width": ("d_ff", 2048, int),
    "buckets": ("relative_attention_num_buckets", 32, int),
    "max_distance": ("relative_attention_max_distance", 128, int),
    "eps": ("layer_norm_epsilon", 1e-6, float),
    "tied_head": ("tie_word_embeddings", True, bool),
}
ACTIVATIONS = {  # feed_forward_proj: our activation, and whether it is gated
    "relu": ("relu", False),
    "gated-gelu": ("gelu_tanh", True),
    "gelu": ("gelu", False),
    "gelu_new": ("gelu_tanh", False),
    "gated-gelu_new": ("gelu_tanh", True),
    "silu": ("silu", False),
    "gated-silu": ("silu", True),
    "gated-relu": ("relu", True),
}


def to_config(settings: Settings) -> Config:
    """Return the configuration that the settings describe.

    Without scale_decoder_outputs, which is new, an untied head marks T5 1.1, which does not scale.
    """
    settings.check_supported({"feed_forward_proj": (*ACTIVATIONS,), "is_encoder_decoder": (True,)})
    tied = settings.field(*FIELDS["tied_head"])
    activation, gated = ACTIVATIONS[settings.field("feed_forward_proj", "relu", str)]
    layers, padding = settings.field(*FIELDS["layers"]), settings.token_id("pad_token_id", 0)
    return config_from(
        settings,
        FIELDS,
        T5Config,
        decoder_layers=settings.field("num_decoder_layers", layers, int),
        decoder_start=settings.token_id("decoder_start_token_id", padding),
        activation=activation,
        gated=gated,
        scaled_head=settings.field("scale_decoder_outputs", tied, bool),
    )


def to_settings(c: Config) -> dict:
    """Return the settings that describe a configuration."""
    names = {value: name for name, value in reversed(ACTIVATIONS.items())}
    return settings_from(c, FIELDS) | {
        "model_type": "t5",
        "d_kv": c.d,
        "d_ff": c.ffn_width or 4 * c.width,
        "num_decoder_layers": c.decoder_layers,
        "decoder_start_token_id": c.decoder_start,
        "feed_forward_proj": names[c.activation, c.gated],
        "scale_decoder_outputs": c.scaled_head,
        "is_encoder_decoder": True,
        "eos_token_id": None,  # transformers' default belongs to another vocabulary
    }


class T5Family(Family):
    """A family with two tables: the gated feed-forward layers of T5 1.1 have other names.

    transformers 5 writes tie_word_embeddings=True also for T5 1.1, whose file has a head.
    """

    def load(self, folder, settings, open_file=SafetensorsFile):
        table = T5_GATED if self.to_config(settings).gated else T5
        if settings.get("scale_decoder_outputs") is False:
            has_head = "lm_head.weight" in open_file(folder / "model.safetensors", self.file_key)
            settings["tie_word_embeddings"] = not has_head
        return Family.load(table, folder, settings, open_file)


def feed_forward(up: str, **more: str) -> dict[str, str]:
    """Return the names of the feed-forward layers, which differ in the encoder and the decoder."""
    names = {"ln2": "layer_norm", "mlp.down": "DenseReluDense.wo"}
    names |= {f"mlp.{ours}": f"DenseReluDense.{name}" for ours, name in {"up": up, **more}.items()}
    return {
        f"{stack}.{ours}": f"layer.{n}.{name}"
        for stack, n in (("encoder", 1), ("decoder", 2))
        for ours, name in names.items()
    }


T5 = T5Family(
    name="T5",
    class_prefixes={"t5": "T5"},
    lm_suffix="ForConditionalGeneration",
    base_model_prefix="",
    blocks="block",
    layers={
        "tokens": "embed_tokens",
        "positions": "block.0.layer.0.SelfAttention.relative_attention_bias",
        "ln1": "layer.0.layer_norm",
        "attn.q": "layer.0.SelfAttention.q",
        "attn.k": "layer.0.SelfAttention.k",
        "attn.v": "layer.0.SelfAttention.v",
        "attn.o": "layer.0.SelfAttention.o",
        "ln3": "layer.1.layer_norm",
        "cross.q": "layer.1.EncDecAttention.q",
        "cross.k": "layer.1.EncDecAttention.k",
        "cross.v": "layer.1.EncDecAttention.v",
        "cross.o": "layer.1.EncDecAttention.o",
        "ln": "final_layer_norm",
        "head": "lm_head",
    }
    | feed_forward("wi"),
    head_names={},
    supported={
        "positions": ("relative",),
        "norm": ("rms",),
        "activation": ("relu", "gelu_tanh", "gelu", "silu"),
        "gated": (False,),
        "biases": ((),),
        "key_heads": (None,),
        "window": (None,),
        "post_norm": (False,),
        "causal": (False,),
        "token_types": (0,),
        "scaled_attention": (False,),
        "scaled_head": (True, False),
        "decoder_layers": range(1, 10**6),
    },
    to_config=to_config,
    to_settings=to_settings,
    lora_targets=("q", "v"),
    tied_names=(
        ("encoder.embed_tokens.weight", "shared.weight"),
        ("decoder.embed_tokens.weight", "shared.weight"),
        ("lm_head.weight", "shared.weight"),
    ),
    ignored_keys=r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.",
)

T5_GATED = replace(
    T5,
    name="T5 1.1",
    layers=T5.layers | feed_forward("wi_1", gate="wi_0"),
    supported=T5.supported | {"gated": (True,)},
)
