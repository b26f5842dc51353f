"""GPT-2: names and settings of transformers.  Its Conv1D has matrices (in, out), as our Linear."""

from ...model.config import LINEARS, Config
from ...model.heads import Classifier, SpanClassifier, TokenClassifier
from ...storage.json import Settings
from .family import Family, config_from, settings_from

FIELDS = {  # our field: (name in config.json, transformers' default, type)
    "vocabulary": ("vocab_size", 50257, int),
    "width": ("n_embd", 768, int),
    "layers": ("n_layer", 12, int),
    "heads": ("n_head", 12, int),
    "length": ("n_positions", 1024, int),
    "ffn_width": ("n_inner", None, int),
    "eps": ("layer_norm_epsilon", 1e-5, float),
    "tied_head": ("tie_word_embeddings", True, bool),
}
SUPPORTED = {  # settings, and the values for which our transformer computes the same
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "add_cross_attention": (False,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
}


def to_config(settings: Settings) -> Config:
    """Return the configuration that the settings describe."""
    settings.check_supported(SUPPORTED)
    return config_from(settings, FIELDS)


def to_settings(c: Config) -> dict:
    """Return the settings that describe a configuration."""
    return settings_from(c, FIELDS) | {
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "bos_token_id": None,  # transformers' defaults belong to another vocabulary
        "eos_token_id": None,
    }


GPT2 = Family(
    name="GPT-2",
    class_prefixes={"gpt2": "GPT2"},
    lm_suffix="LMHeadModel",
    base_model_prefix="transformer.",
    blocks="h",
    layers={
        "tokens": "wte",
        "positions": "wpe",
        "ln1": "ln_1",
        "attn.q": "attn.c_attn",
        "attn.k": "attn.c_attn",
        "attn.v": "attn.c_attn",
        "attn.o": "attn.c_proj",
        "ln2": "ln_2",
        "mlp.up": "mlp.c_fc",
        "mlp.down": "mlp.c_proj",
        "ln": "ln_f",
        "head": "lm_head",
    },
    head_names={Classifier: "score", TokenClassifier: "classifier", SpanClassifier: "qa_outputs"},
    supported={
        "positions": ("learned",),
        "norm": ("layer",),
        "activation": ("gelu_tanh",),
        "gated": (False,),
        "biases": (LINEARS,),
        "key_heads": (None,),
        "head_width": (None,),
        "window": (None,),
        "post_norm": (False,),
        "causal": (True,),
        "token_types": (0,),
    },
    to_config=to_config,
    to_settings=to_settings,
    lora_targets=("c_attn",),
    conv1d=True,
    tied_names=(("lm_head.weight", "wte.weight"),),
    ignored_keys=r"h\.\d+\.attn\.(masked_)?bias$",  # causal masks in older files
)
