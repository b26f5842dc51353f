"""BERT: names and settings of transformers."""

from ...model.bert import BertConfig
from ...model.config import LINEARS, Config
from ...model.heads import Classifier, SpanClassifier, TokenClassifier
from ...storage.json import Settings
from .family import Family, config_from, settings_from

FIELDS = {  # our field: (name in config.json, transformers' default, type)
    "vocabulary": ("vocab_size", 30522, int),
    "width": ("hidden_size", 768, int),
    "layers": ("num_hidden_layers", 12, int),
    "heads": ("num_attention_heads", 12, int),
    "length": ("max_position_embeddings", 512, int),
    "ffn_width": ("intermediate_size", 3072, int),
    "eps": ("layer_norm_eps", 1e-12, float),
    "token_types": ("type_vocab_size", 2, int),
}
SUPPORTED = {  # settings, and the values for which our encoder computes the same
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}


def to_config(settings: Settings) -> Config:
    """Return the configuration that the settings describe."""
    settings.check_supported(SUPPORTED)
    return config_from(settings, FIELDS, BertConfig)


def to_settings(c: Config) -> dict:
    """Return the settings that describe a configuration."""
    return settings_from(c, FIELDS) | {
        "model_type": "bert",
        "intermediate_size": c.ffn_width or 4 * c.width,
        "hidden_act": "gelu",
        "pad_token_id": None,  # transformers' default belongs to another vocabulary
    }


class Bert(Family):
    """A family that also reads the names of the first BERT files: gamma and beta of the norms."""

    def file_key(self, name):
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        return super().file_key(name.replace("LayerNorm.beta", "LayerNorm.bias"))


BERT = Bert(
    name="BERT",
    class_prefixes={"bert": "Bert"},
    lm_suffix="ForMaskedLM",
    base_model_prefix="bert.",
    blocks="encoder.layer",
    layers={
        "tokens": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "types": "embeddings.token_type_embeddings",
        "ln": "embeddings.LayerNorm",
        "attn.q": "attention.self.query",
        "attn.k": "attention.self.key",
        "attn.v": "attention.self.value",
        "attn.o": "attention.output.dense",
        "ln1": "attention.output.LayerNorm",
        "mlp.up": "intermediate.dense",
        "mlp.down": "output.dense",
        "ln2": "output.LayerNorm",
        "pooler": "pooler.dense",
        "transform.dense": "cls.predictions.transform.dense",
        "transform.ln": "cls.predictions.transform.LayerNorm",
        "head": "cls.predictions.decoder",
    },
    head_names={
        Classifier: "classifier",
        TokenClassifier: "classifier",
        SpanClassifier: "qa_outputs",
    },
    supported={
        "positions": ("learned",),
        "position_offset": (0,),
        "norm": ("layer",),
        "activation": ("gelu",),
        "gated": (False,),
        "biases": (LINEARS,),
        "key_heads": (None,),
        "head_width": (None,),
        "window": (None,),
        "post_norm": (True,),
        "causal": (False,),
        "tied_head": (True,),
        "pooler": ("tanh",),
    },
    to_config=to_config,
    to_settings=to_settings,
    lora_targets=("query", "value"),
    tied_names=(
        ("cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ),
    ignored_keys=r"embeddings\.position_ids$|cls\.seq_relationship\.",
)
