"""DistilBERT: names and settings of transformers."""

from ...model.bert import DistilBertConfig
from ...model.config import Config
from ...model.heads import Classifier, SpanClassifier, TokenClassifier
from ...storage.json import Settings
from .bert import BERT
from .family import Family, config_from, settings_from

FIELDS = {  # our field: (name in config.json, transformers' default, type)
    "vocabulary": ("vocab_size", 30522, int),
    "width": ("dim", 768, int),
    "layers": ("n_layers", 6, int),
    "heads": ("n_heads", 12, int),
    "length": ("max_position_embeddings", 512, int),
    "ffn_width": ("hidden_dim", 3072, int),
}
SUPPORTED = {  # settings, and the values for which our encoder computes the same
    "activation": ("gelu",),
    "tie_word_embeddings": (True,),
}


def to_config(settings: Settings) -> Config:
    """Return the configuration that the settings describe.

    With sinusoidal_pos_embds, too, the file has the table of positions.
    """
    settings.check_supported(SUPPORTED)
    return config_from(settings, FIELDS, DistilBertConfig)


def to_settings(c: Config) -> dict:
    """Return the settings that describe a configuration."""
    return settings_from(c, FIELDS) | {
        "model_type": "distilbert",
        "hidden_dim": c.ffn_width or 4 * c.width,
        "activation": "gelu",
        "pad_token_id": None,  # transformers' default belongs to another vocabulary
    }


DISTILBERT = Family(
    name="DistilBERT",
    class_prefixes={"distilbert": "DistilBert"},
    lm_suffix="ForMaskedLM",
    base_model_prefix="distilbert.",
    blocks="transformer.layer",
    layers={
        "tokens": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "ln": "embeddings.LayerNorm",
        "attn.q": "attention.q_lin",
        "attn.k": "attention.k_lin",
        "attn.v": "attention.v_lin",
        "attn.o": "attention.out_lin",
        "ln1": "sa_layer_norm",
        "mlp.up": "ffn.lin1",
        "mlp.down": "ffn.lin2",
        "ln2": "output_layer_norm",
        "transform.dense": "vocab_transform",
        "transform.ln": "vocab_layer_norm",
        "head": "vocab_projector",
    },
    head_names={
        Classifier: "classifier",
        TokenClassifier: "classifier",
        SpanClassifier: "qa_outputs",
    },
    head_pooler="pre_classifier",
    supported=BERT.supported | {"eps": (1e-12,), "token_types": (0,), "pooler": ("relu",)},
    to_config=to_config,
    to_settings=to_settings,
    lora_targets=(),  # PEFT has no default for it
    tied_names=(("vocab_projector.weight", "embeddings.word_embeddings.weight"),),
    ignored_keys=r"embeddings\.position_ids$",
)
