"""Llama, Qwen2 and Mistral: names and settings of transformers."""

from ...model.config import LINEARS, Config
from ...model.heads import Classifier, SpanClassifier, TokenClassifier
from ...storage.json import CheckpointError, Settings, short_repr
from .family import Family, config_from, settings_from

FIELDS = {  # our field: (name in config.json, transformers' default, type)
    "vocabulary": ("vocab_size", 32000, int),
    "width": ("hidden_size", 4096, int),
    "layers": ("num_hidden_layers", 32, int),
    "heads": ("num_attention_heads", 32, int),
    "key_heads": ("num_key_value_heads", None, int),
    "head_width": ("head_dim", None, int),
    "length": ("max_position_embeddings", 2048, int),
    "ffn_width": ("intermediate_size", 11008, int),
    "eps": ("rms_norm_eps", 1e-6, float),
    "tied_head": ("tie_word_embeddings", False, bool),
}
DEFAULTS = {  # transformers' defaults where they differ from Llama's
    "qwen2": {"vocab_size": 151936, "intermediate_size": 22016, "max_position_embeddings": 32768},
    "mistral": {
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
}
ROPE_SCALING = {  # the settings of Llama 3.1's rope scaling, and their types
    "factor": float,
    "low_freq_factor": float,
    "high_freq_factor": float,
    "original_max_position_embeddings": int,
}
QKV, ATTENTION, MLP = LINEARS[:3], LINEARS[:4], LINEARS[4:]


def to_config(settings: Settings) -> Config:
    """Return the configuration that the settings describe."""
    kind = settings["model_type"]
    settings = Settings(DEFAULTS.get(kind, {}) | settings, settings.path)
    settings.check_supported({"hidden_act": ("silu",)})
    fixed: dict = {"positions": "rotary", "norm": "rms", "gated": True, "activation": "silu"}
    fixed |= {"biases": biases(settings, kind), "window": window(settings, kind)}
    return config_from(settings, FIELDS, **fixed, **rope(settings))


def biases(settings, kind):
    """Return which layers have a bias."""
    if kind != "llama":
        return QKV if kind == "qwen2" else ()
    attention = settings.field("attention_bias", False, bool)
    return ATTENTION * attention + MLP * settings.field("mlp_bias", False, bool)


def window(settings, kind):
    """Return the size of the sliding window, which must be the same in all layers, or None."""
    if kind == "llama" or kind == "qwen2" and not settings.field("use_sliding_window", False, bool):
        return None
    L, size = settings.field(*FIELDS["layers"]), settings.field("sliding_window", None, int)
    slides = [t == "sliding_attention" for t in settings.field("layer_types", (), tuple)]
    if kind == "mistral":  # transformers ignores its layer_types: all layers slide
        slides = [True, *slides] if size else []
    elif not slides:
        first = settings.field("max_window_layers", 28, float)
        slides = [first <= 0, first < L]  # the first and the last layer
    if any(slides) and not all(slides):
        raise CheckpointError(
            f"{settings.path}: sliding_window={size} applies to some of the layers only (see "
            "layer_types, max_window_layers), which is not supported"
        )
    return size if any(slides) else None


def rope(settings):
    """Return the fields of the rotary positions, from the new setting or the old ones."""
    new, old = (settings.get(name) or {} for name in ("rope_parameters", "rope_scaling"))
    if new and old and new != old:
        raise CheckpointError(
            f"{settings.path}: rope_parameters={short_repr(new)} and "
            f"rope_scaling={short_repr(old)} differ: keep one"
        )
    values = Settings(new or old, f"{settings.path}, rope_parameters")
    kind = values.get("rope_type", values.get("type", "default"))
    known = {"rope_type": ("default", "llama3")}
    Settings({"rope_type": kind}, settings.path).check_supported(known)
    for where in (settings, values):
        where.check_supported({"partial_rotary_factor": (1,)})
    theta = values.field("rope_theta", settings.field("rope_theta", 10000.0, float), float)
    if kind == "default":
        return {"rope_theta": theta}
    scaling = tuple(values.field(name, None, type_) for name, type_ in ROPE_SCALING.items())
    if None in scaling:
        needed = ", ".join(ROPE_SCALING)
        raise CheckpointError(f"{values.path} needs {needed}; it has {', '.join(values)}")
    return {"rope_theta": theta, "rope_scaling": scaling}


def model_type(c):
    """Return which of the family's model types a configuration is saved as."""
    if c.biases == QKV:
        return "qwen2"
    return "mistral" if c.window else "llama"


def to_settings(c: Config) -> dict:
    """Return the settings that describe a configuration."""
    kind, scaling = model_type(c), dict(zip(ROPE_SCALING, c.rope_scaling or ()))
    rope_type = "llama3" if scaling else "default"
    rope_parameters = {"rope_theta": c.rope_theta, "rope_type": rope_type} | scaling
    of_kind: dict[str, dict] = {
        "llama": {
            "attention_bias": c.biases[:4] == ATTENTION,
            "mlp_bias": c.biases[-3:] == MLP,
        },
        "qwen2": {
            "sliding_window": c.window,
            "use_sliding_window": c.window is not None,
            "max_window_layers": 0,
        },
        "mistral": {"sliding_window": c.window},
    }
    return (
        settings_from(c, FIELDS)
        | of_kind[kind]
        | {
            "model_type": kind,
            "num_key_value_heads": c.key_heads or c.heads,
            "head_dim": c.d,
            "intermediate_size": c.ffn_width or 4 * c.width,
            "hidden_act": "silu",
            "rope_parameters": rope_parameters,
            "rope_theta": c.rope_theta,  # for programs that do not read rope_parameters
            "rope_scaling": rope_parameters if scaling else None,
            "bos_token_id": None,  # transformers' defaults belong to another vocabulary
            "eos_token_id": None,
        }
    )


LLAMA = Family(
    name="Llama",
    class_prefixes={"llama": "Llama", "qwen2": "Qwen2", "mistral": "Mistral"},
    lm_suffix="ForCausalLM",
    base_model_prefix="model.",
    blocks="layers",
    layers={
        "tokens": "embed_tokens",
        "ln1": "input_layernorm",
        "attn.q": "self_attn.q_proj",
        "attn.k": "self_attn.k_proj",
        "attn.v": "self_attn.v_proj",
        "attn.o": "self_attn.o_proj",
        "ln2": "post_attention_layernorm",
        "mlp.gate": "mlp.gate_proj",
        "mlp.up": "mlp.up_proj",
        "mlp.down": "mlp.down_proj",
        "ln": "norm",
        "head": "lm_head",
    },
    head_names={Classifier: "score", TokenClassifier: "score", SpanClassifier: "qa_outputs"},
    supported={
        "positions": ("rotary",),
        "norm": ("rms",),
        "activation": ("silu",),
        "gated": (True,),
        "biases": ((), QKV, ATTENTION, MLP, LINEARS),
        "post_norm": (False,),
        "causal": (True,),
        "token_types": (0,),
    },
    to_config=to_config,
    to_settings=to_settings,
    lora_targets=("q_proj", "v_proj"),
    span_prefix=lambda c: "model." if model_type(c) == "mistral" else "transformer.",
    tied_names=(("lm_head.weight", "embed_tokens.weight"),),
    ignored_keys=r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$",  # in older files
)
