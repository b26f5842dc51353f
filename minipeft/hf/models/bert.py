"""BERT's folders, in the names of transformers."""

from ...model.bert import BertConfig
from ...model.config import LINEARS
from ...model.heads import Classifier, SpanClassifier, TokenClassifier
from .family import Family, configured, told

FIELDS = {  # ours: theirs, its value where it is left out, its kind
    "vocabulary": ("vocab_size", 30522, int),
    "width": ("hidden_size", 768, int),
    "layers": ("num_hidden_layers", 12, int),
    "heads": ("num_attention_heads", 12, int),
    "length": ("max_position_embeddings", 512, int),
    "ffn_width": ("intermediate_size", 3072, int),
    "eps": ("layer_norm_eps", 1e-12, float),
    "token_types": ("type_vocab_size", 2, int),
}
ONLY = {  # what our encoder computes
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}


def config(settings):
    settings.only(ONLY)
    return configured(settings, FIELDS, BertConfig)


def settings(c):
    return told(c, FIELDS) | {
        "model_type": "bert",
        "intermediate_size": c.ffn_width or 4 * c.width,
        "hidden_act": "gelu",
        "pad_token_id": None,  # the default is of another vocabulary
    }


class Names(Family):
    """As its files have had them from the first year on."""

    def called(self, name):
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        return super().called(name.replace("LayerNorm.beta", "LayerNorm.bias"))


BERT = Names(
    name="BERT",
    stems={"bert": "Bert"},
    lm="ForMaskedLM",
    trunk="bert.",
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
        "head": "cls.predictions",
    },
    scores={
        Classifier: "classifier",
        TokenClassifier: "classifier",
        SpanClassifier: "qa_outputs",
    },
    kind={
        "positions": ("learned",),
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
    },
    config=config,
    settings=settings,
    queries=("query", "value"),
    ties=(
        ("cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ),
    left=r"embeddings\.position_ids$|cls\.seq_relationship\.",
)
