"""BERT's folders, in the names of transformers.  Its Linear is (out, in), the transpose of ours."""

import re

import numpy as np

from ..encoder import Bert, Encoder, MaskedLM
from ..tensor import Tensor
from . import gpt2
from .folders import CheckpointError, Tensors
from .gpt2 import PARAMETERS, Unset

FIELDS = {  # ours: theirs, its value where it is left out, its kind
    "vocabulary": ("vocab_size", 30522, int),
    "width": ("hidden_size", 768, int),
    "layers": ("num_hidden_layers", 12, int),
    "heads": ("num_attention_heads", 12, int),
    "length": ("max_position_embeddings", 512, int),
    "hidden": ("intermediate_size", 3072, int),
    "eps": ("layer_norm_eps", 1e-12, float),
    "types": ("type_vocab_size", 2, int),
}
ONLY = {  # what our encoder computes
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
LAYERS = {  # ours: theirs
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
}
TABLES = "tokens", "positions", "types"
OTHERS = re.compile(r"embeddings\.position_ids$|cls\.seq_relationship\.|classifier\.")


def theirs(path):
    """blocks.3.attn.q -> encoder.layer.3.attention.self.query"""
    n, layer = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+)", path).groups()
    return f"encoder.layer.{n}.{LAYERS[layer]}" if n else LAYERS[layer]


def tensors(model):
    """{their name: (our tensor, whether theirs is its transpose)}"""
    found, seen = {}, set()
    for place, t in model.named_parameters():
        path, name = place.rsplit(".", 1)
        if id(t) not in seen:  # the head's W is the embedding
            turned = name == "W" and path not in TABLES
            found[f"{theirs(path)}.{PARAMETERS[name]}"] = t, turned
        seen.add(id(t))
    return found


def called(name):
    """Their name as in this table: in all their models, and in files of the first years."""
    name = name.removeprefix("bert.").replace("Norm.gamma", "Norm.weight")
    return None if OTHERS.match(name) else name.replace("Norm.beta", "Norm.bias")


def read(folder, settings):
    """MaskedLM, or an Encoder if the file has no head of words; without pooler if it has none.

    A head of another kind (classifier, next sentences) stays behind.
    """
    settings.only(ONLY)
    c = gpt2.configured(settings, FIELDS, Bert)
    file = Tensors(folder / "model.safetensors", called)
    embedding = file.need("embeddings.word_embeddings.weight", (c.vocabulary, c.width))
    file.need("embeddings.position_embeddings.weight", (c.length, c.width))
    for n in reversed(range(c.layers)):  # before any claimed size is made
        name = f"encoder.layer.{n}.intermediate.dense.weight"
        file.need(name, (c.hidden or 4 * c.width, c.width))
    for kind, original in (("weight", embedding), ("bias", file.get("cls.predictions.bias"))):
        if not np.array_equal(file.pop(f"cls.predictions.decoder.{kind}", original), original):
            raise CheckpointError(f"{file.path}: the {kind} of cls.predictions.decoder is not tied")
    model = (MaskedLM if "cls.predictions.bias" in file else Encoder)(c, Unset())
    if "pooler.dense.weight" not in file:
        del model.pooler
    new, dtype = {}, file.dtype
    for name, (t, turned) in tensors(model).items():
        x = file.need(name, t.shape[::-1] if turned else t.shape)
        new[id(t)] = Tensor(np.asarray(x.T if turned else x, dtype))
    file.end()
    return model.map(lambda t: new[id(t)])


def files(model, dtype):
    """What a folder of this model holds."""
    c = gpt2.held(model.config, "BERT", post=True, causal=False, gelu="exact")
    settings = {theirs: getattr(c, ours) for ours, (theirs, *_) in FIELDS.items()} | {
        "intermediate_size": c.hidden or 4 * c.width,
        "model_type": "bert",
        "architectures": ["BertForMaskedLM" if isinstance(model, MaskedLM) else "BertModel"],
        "hidden_act": "gelu",
        "pad_token_id": None,  # the default is of another vocabulary
        "dtype": np.dtype(dtype).name,
    }
    found = {
        name if name.startswith("cls.") else f"bert.{name}": t.data.T if turned else t.data
        for name, (t, turned) in tensors(model).items()
    }
    return {"config.json": settings, "model.safetensors": (found, {})}
