"""Parameters and settings: what they were in folders saved before version 0.2."""

from collections.abc import Container

RENAMED = {
    "P_key": "P_k",
    "P_value": "P_v",
    "delta": "δ",
    "mlp_width": "hidden",
    "ffn_width": "hidden",
    "rope_theta": "theta",
    "rope_scaling": "stretch",
    "tied_head": "tied",
    "post_norm": "post",
    "token_types": "types",
    "biases": "biased",
    "micro_batches": "slices",
    "learning_rates": "rates",
}

ADDED = {"hidden": None, "gate": False}  # fields that methods lacked, and their defaults

TARGETS = {  # defaults of `targets` before version 0.2: those of now
    r"^score$": r"^(query|score)$",
    r"^tokens$": r"^(encoder\.)?tokens$",
    r"attn$": r"(attn|cross)$",
    r"(attn|mlp)$": r"(attn|cross|mlp)$",
    r"attn\.[qv]$": r"(attn|cross)\.[qv]$",
    r"attn\.[kv]$|mlp\.down$": r"(attn|cross)\.[kv]$|mlp\.down$",
    r"attn\.o$|mlp\.down$": r"(attn|cross)\.o$|mlp\.down$",
}


def stored_name(name: str, names: Container[str]) -> str:
    """Return `name`, or what it was called before if only that is among `names`."""
    front, dot, last = name.rpartition(".")
    before = front + dot + RENAMED.get(last, last)
    return before if name not in names and before in names else name
