"""GPT-2's folders, in the names of transformers.  Its Conv1D is (in, out), as our Linear."""

from ...model.config import LINEARS, Config
from ...model.heads import Classifier, SpanClassifier, TokenClassifier
from .family import Family, configured, told

FIELDS = {  # ours: theirs, its value where it is left out, its kind
    "vocabulary": ("vocab_size", 50257, int),
    "width": ("n_embd", 768, int),
    "layers": ("n_layer", 12, int),
    "heads": ("n_head", 12, int),
    "length": ("n_positions", 1024, int),
    "ffn_width": ("n_inner", None, int),
    "eps": ("layer_norm_epsilon", 1e-5, float),
    "tied_head": ("tie_word_embeddings", True, bool),
}
ONLY = {  # what our transformer computes
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "add_cross_attention": (False,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
}


def config(settings):
    settings.only(ONLY)
    return configured(settings, FIELDS, Config)


def settings(c):
    return told(c, FIELDS) | {
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "bos_token_id": None,  # the defaults are of another vocabulary
        "eos_token_id": None,
    }


GPT2 = Family(
    name="GPT-2",
    stems={"gpt2": "GPT2"},
    lm="LMHeadModel",
    trunk="transformer.",
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
    scores={Classifier: "score", TokenClassifier: "classifier", SpanClassifier: "qa_outputs"},
    kind={
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
    config=config,
    settings=settings,
    queries=("c_attn",),
    conv=True,
    ties=(("lm_head.weight", "wte.weight"),),
    left=r"h\.\d+\.attn\.(masked_)?bias$",  # older files have masks
)
