"""Llama's folders, in the names of transformers; Qwen2's and Mistral's share them."""

from ...model.config import LINEARS, Config
from ...model.heads import Classifier, SpanClassifier, TokenClassifier
from ...storage.json import CheckpointError, Settings, brief
from .family import Family, configured, told

FIELDS = {  # ours: theirs, its value where it is left out, its kind
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
LEFT_OUT = {  # what they take for a setting that is left out
    "qwen2": {"vocab_size": 151936, "intermediate_size": 22016, "max_position_embeddings": 32768},
    "mistral": {
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
}
STRETCH = {  # of Llama 3.1's positions
    "factor": float,
    "low_freq_factor": float,
    "high_freq_factor": float,
    "original_max_position_embeddings": int,
}
ATTENTION, MLP = LINEARS[:4], LINEARS[4:]
SLIDES = "sliding_attention"


def config(settings):
    kind = settings["model_type"]
    settings = Settings(LEFT_OUT.get(kind, {}) | settings, settings.path)
    settings.only({"hidden_act": ("silu",)})
    fixed = {"positions": "rotary", "norm": "rms", "gated": True, "activation": "silu"}
    more = {"biases": biased(settings, kind), "window": window(settings, kind)}
    return configured(settings, FIELDS, Config, **fixed, **more, **turns(settings))


def biased(settings, kind):
    if kind != "llama":
        return LINEARS[:3] if kind == "qwen2" else ()
    attention = settings.field("attention_bias", False, bool)
    return ATTENTION * attention + MLP * settings.field("mlp_bias", False, bool)


def window(settings, kind):
    """How far a token sees, which must be the same in all layers; or None."""
    if kind == "llama" or kind == "qwen2" and not settings.field("use_sliding_window", False, bool):
        return None
    L, size = settings.field(*FIELDS["layers"]), settings.field("sliding_window", None, int)
    slides = [t == SLIDES for t in settings.field("layer_types", (), tuple)]
    if kind == "mistral":  # whose layers all slide in transformers, whatever layer_types say
        slides = [True, *slides] if size else []
    elif not slides:
        first = settings.field("max_window_layers", 28, float)
        slides = [first <= 0, first < L]  # the first layer, the last
    if any(slides) and not all(slides):
        raise CheckpointError(
            f"{settings.path}: sliding_window={size} is not of all layers (see layer_types, "
            "max_window_layers), and that is not supported"
        )
    return size if any(slides) else None


def turns(settings):
    """θ and the stretch of the rotary positions, whichever way they are said."""
    new, old = (settings.get(name) or {} for name in ("rope_parameters", "rope_scaling"))
    if new and old and new != old:
        told = f"rope_parameters={brief(new)}, but rope_scaling={brief(old)}: keep one"
        raise CheckpointError(f"{settings.path}: {told}")
    said = Settings(new or old, f"{settings.path}, rope_parameters")
    kind = said.get("rope_type", said.get("type", "default"))
    Settings({"rope_type": kind}, settings.path).only({"rope_type": ("default", "llama3")})
    said.only({"partial_rotary_factor": (1,)})
    θ = said.field("rope_theta", settings.field("rope_theta", 10000.0, float), float)
    if kind == "default":
        return {"rope_theta": θ}
    rope_scaling = tuple(said.field(name, None, kind) for name, kind in STRETCH.items())
    if None in rope_scaling:
        raise CheckpointError(f"{said.path} needs {', '.join(STRETCH)}; it has {', '.join(said)}")
    return {"rope_theta": θ, "rope_scaling": rope_scaling}


def model_type(c):
    if c.biases == LINEARS[:3]:
        return "qwen2"
    return "mistral" if c.window else "llama"


def settings(c):
    kind, rope = model_type(c), {"rope_theta": c.rope_theta, "rope_type": "default"}
    if c.stretch:
        rope |= {"rope_type": "llama3"} | dict(zip(STRETCH, c.stretch))
    own = {
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
        told(c, FIELDS)
        | own[kind]
        | {
            "model_type": kind,
            "num_key_value_heads": c.key_heads or c.heads,
            "head_dim": c.d,
            "intermediate_size": c.ffn_width or 4 * c.width,
            "hidden_act": "silu",
            "rope_parameters": rope,
            "rope_theta": c.rope_theta,  # for those who know no rope_parameters
            "bos_token_id": None,  # the defaults are of another vocabulary
            "eos_token_id": None,
        }
    )


LLAMA = Family(
    name="Llama",
    stems={"llama": "Llama", "qwen2": "Qwen2", "mistral": "Mistral"},
    lm="ForCausalLM",
    trunk="model.",
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
    scores={Classifier: "score", TokenClassifier: "score", SpanClassifier: "qa_outputs"},
    kind={
        "positions": ("rotary",),
        "norm": ("rms",),
        "activation": ("silu",),
        "gated": (True,),
        "biases": ((), LINEARS[:3], ATTENTION, MLP, LINEARS),
        "post_norm": (False,),
        "causal": (True,),
        "token_types": (0,),
    },
    config=config,
    settings=settings,
    queries=("q_proj", "v_proj"),
    beside_spans=lambda c: "model." if model_type(c) == "mistral" else "transformer.",
    ties=(("lm_head.weight", "embed_tokens.weight"),),
    left=r"(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq$",  # of older files
)
