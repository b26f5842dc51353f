"""RoBERTa, XLM-RoBERTa and CamemBERT: names and settings of transformers.

They are BERT, but for the positions, which start after that of padding, and for the heads.
"""

from dataclasses import replace

from ...model.bert import BertConfig
from ...model.config import Config
from ...model.heads import Classifier
from ...storage.json import CheckpointError, Settings
from .bert import BERT, FIELDS, SUPPORTED
from .family import config_from

VOCABULARIES = {"roberta": 50265}  # transformers' defaults where they differ from BERT's


def to_config(settings: Settings) -> Config:
    """Return the configuration that the settings describe."""
    settings.check_supported(SUPPORTED)
    vocabulary = VOCABULARIES.get(settings["model_type"], FIELDS["vocabulary"][1])
    settings = Settings({"vocab_size": vocabulary} | settings, settings.path)
    rows, offset = settings.field(*FIELDS["length"]), settings.token_id("pad_token_id", 1) + 1
    if rows <= offset:
        raise CheckpointError(
            f"{settings.path}: max_position_embeddings={rows} must be greater than pad_token_id + "
            f"1, the row of position 0, {offset}"
        )
    return config_from(settings, FIELDS, BertConfig, position_offset=offset, length=rows - offset)


def to_settings(c: Config) -> dict:
    """Return the settings that describe a configuration."""
    return BERT.to_settings(c) | {
        "model_type": "roberta",
        "max_position_embeddings": c.position_offset + c.length,
        "pad_token_id": c.position_offset - 1,
        "bos_token_id": None,  # transformers' defaults belong to another vocabulary
        "eos_token_id": None,
    }


ROBERTA = replace(
    BERT,
    name="RoBERTa",
    class_prefixes={"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"},
    base_model_prefix="roberta.",
    layers=BERT.layers
    | {
        "transform.dense": "lm_head.dense",
        "transform.ln": "lm_head.layer_norm",
        "head": "lm_head.decoder",
    },
    head_names=BERT.head_names | {Classifier: "classifier.out_proj"},
    head_pooler="classifier.dense",
    pads_uncounted=True,
    supported=BERT.supported | {"position_offset": range(1, 10**9)},
    to_config=to_config,
    to_settings=to_settings,
    tied_names=(
        ("lm_head.decoder.weight", "embeddings.word_embeddings.weight"),
        ("lm_head.decoder.bias", "lm_head.bias"),
    ),
    ignored_keys=r"embeddings\.(position|token_type)_ids$",
)
