"""GPT-2's folders, in the names of transformers.  Its Conv1D is (in, out), as our Linear."""

import re

import numpy as np

from ..tensor import Tensor
from ..transformer import Config, Decoder
from .folders import CheckpointError, Tensors

FIELDS = {  # ours: theirs, its value where it is left out, its kind
    "vocabulary": ("vocab_size", 50257, int),
    "width": ("n_embd", 768, int),
    "layers": ("n_layer", 12, int),
    "heads": ("n_head", 12, int),
    "length": ("n_positions", 1024, int),
    "hidden": ("n_inner", None, int),
    "eps": ("layer_norm_epsilon", 1e-5, float),
    "tied": ("tie_word_embeddings", True, bool),
}
ONLY = {  # what our transformer computes
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "add_cross_attention": (False,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
}
LAYERS = {  # ours: theirs.  Those of one name lie side by side there
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
}
PARAMETERS = {"W": "weight", "g": "weight", "b": "bias"}
MASKS = re.compile(r"h\.\d+\.attn\.(masked_)?bias$")  # of older files: no parameters


def theirs(path):
    """blocks.3.attn.q -> h.3.attn.c_attn"""
    n, layer = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+)", path).groups()
    return f"h.{n}.{LAYERS[layer]}" if n else LAYERS[layer]


def modules(layers):
    """The linear layers: {"h.0.attn.c_attn": ["blocks.0.attn.q", …k, …v], ...}"""
    found = {}
    for path in (f"blocks.{n}.{layer}" for n in range(layers) for layer in LAYERS if "." in layer):
        found.setdefault(theirs(path), []).append(path)
    return found


def joined(model):
    """{their tensor: those of ours that lie side by side in it}"""
    found, seen = {}, set()
    for place, t in model.named_parameters():
        path, name = place.rsplit(".", 1)
        if id(t) not in seen:  # a tied head is the embedding
            found.setdefault(f"{theirs(path)}.{PARAMETERS[name]}", []).append(t)
        seen.add(id(t))
    return found


def held(c, format="GPT-2", **kind):
    """The configuration, if the format can hold it: these fields, and what all of them share."""
    kind = kind or {"post": False, "causal": True, "gelu": "tanh", "types": 0}
    for field, known in (
        {"positions": "learned", "norm": "layer", "key_heads": c.heads} | kind
    ).items():
        if (value := getattr(c, field)) not in (known, None):
            raise CheckpointError(
                f"{field}={value!r}: {format}'s format has {field}={known!r} alone"
            )
    return c


def configured(settings, fields, make):
    """The configuration that the settings tell of, in fields of these names."""
    found = {ours: settings.field(*field) for ours, field in fields.items()}
    if found["hidden"] == 4 * found["width"]:
        found["hidden"] = None
    try:
        return make(**found)
    except ValueError as e:
        raise CheckpointError(f"{settings.path}: {e}") from None


class Unset:
    """In place of a generator: the numbers come from a file."""

    def standard_normal(self, shape):
        return np.broadcast_to(np.float32(0), shape)


def read(folder, settings):
    settings.only(ONLY)
    c = configured(settings, FIELDS, Config)
    file = Tensors(
        folder / "model.safetensors",
        lambda name: None if MASKS.search(name) else name.removeprefix("transformer."),
    )
    embedding = file.need("wte.weight", (c.vocabulary, c.width))  # before any claimed size is made
    file.need("wpe.weight", (c.length, c.width))
    for n in reversed(range(c.layers)):
        file.need(f"h.{n}.mlp.c_fc.weight", (c.width, c.hidden or 4 * c.width))
    if c.tied and not np.array_equal(file.pop("lm_head.weight", embedding), embedding):
        raise CheckpointError(f"{file.path}: lm_head.weight is not wte.weight, so not tied to it")
    if "lm_head.weight" in file:  # the one that is (out, in)
        file["lm_head.weight"] = file["lm_head.weight"].T
    model, new, dtype = Decoder(c, Unset()), {}, file.dtype
    for name, ts in joined(model).items():
        whole = file.need(name, (*ts[0].shape[:-1], sum(t.shape[-1] for t in ts)))
        for t, part in zip(ts, np.split(whole, len(ts), axis=-1), strict=True):
            new[id(t)] = Tensor(np.asarray(part, dtype))
    file.end()
    return model.map(lambda t: new[id(t)])


def files(model, dtype):
    """What a folder of this model holds."""
    c = held(model.config)
    settings = {theirs: getattr(c, ours) for ours, (theirs, *_) in FIELDS.items()} | {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "bos_token_id": None,  # the defaults are of another vocabulary
        "eos_token_id": None,
        "dtype": np.dtype(dtype).name,
    }
    tensors = {
        f"transformer.{name}": np.concatenate([t.data for t in ts], axis=-1)
        for name, ts in joined(model).items()
    }
    if not c.tied:
        tensors["lm_head.weight"] = tensors.pop("transformer.lm_head.weight").T
    return {"config.json": settings, "model.safetensors": (tensors, {})}
