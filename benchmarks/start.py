"""Folders from which all libraries start: random weights, saved once by minipeft."""

from pathlib import Path

import numpy as np

import minipeft as mp

from .cases import CLASSES, SIZES, VIRTUAL, Size

LLAMA = {"positions": "rotary", "norm": "rms", "activation": "silu", "gated": True}
LLAMA |= {"biases": (), "tied_head": False}
ATTACHED = "full", "bitfit"  # methods that start at the weights of the model, and need no folder


def base(folder: Path, size: str) -> Path:
    """Return a folder with a model of this size, and write it if it is not there."""
    if not (path := folder / size / "base").exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        mp.save(mp.Decoder(config(SIZES[size]), np.random.default_rng(0)), path)
    return path


def adaptation(folder: Path, size: str, method: str) -> None:
    """Write a folder with the model and one with an adaptation of it, if they are not there.

    Random numbers are added to the adaptation, so that no gradient is 0 because of its start.
    """
    model_folder, path = base(folder, size), folder / size / method
    if method not in ATTACHED and not path.exists():
        model, rng = mp.load(model_folder), np.random.default_rng(1)
        if method == "probe":
            model = mp.Classifier(model, CLASSES, "mean")
        γ = METHODS[method](SIZES[size]).attach(model, rng)
        for p in γ.parameters():
            p.data += rng.normal(0, 0.02, p.shape).astype(p.dtype)
        mp.save(γ, path)


def config(s: Size) -> mp.Config:
    """Return the configuration of a model of this size."""
    settings = LLAMA if s.family == "llama" else {}
    settings = settings | {"key_heads": s.key_heads, "ffn_width": s.ffn_width}
    length = s.tokens + VIRTUAL
    return mp.Config(s.vocabulary, s.width, s.layers, s.heads, length, **settings)


def lora(s: Size) -> mp.LoRA:
    """Return a LoRA of q, k and v; GPT-2's share an A, as they are one layer in transformers."""
    return mp.LoRA(8, 16, targets=r"attn\.[qkv]$", fused=s.family == "gpt2")


def ia3(s: Size) -> mp.IA3:
    """Return an (IA)³; GPT-2's scales q, too, as q, k and v are one layer in transformers."""
    targets = r"attn\.[qkv]$|mlp\.down$" if s.family == "gpt2" else mp.IA3.targets
    return mp.IA3(targets)


METHODS = {
    "full": lambda s: mp.FullFineTuning(),
    "prompt": lambda s: mp.PromptTuning(VIRTUAL),
    "prefix": lambda s: mp.PrefixTuning(VIRTUAL),
    "adapter": lambda s: mp.Adapter(s.bottleneck, targets=r"mlp\.down$"),
    "lora": lora,
    "ia3": ia3,
    "bitfit": lambda s: mp.BitFit(),
    "probe": lambda s: mp.Probe(),
}
