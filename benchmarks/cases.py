"""What is measured: sizes of a model and its batch, methods, and labels."""

from dataclasses import dataclass

import numpy as np

LR = 1e-3
VIRTUAL = 20  # length of a prompt and of a prefix
CLASSES = 2  # of a probe


@dataclass(frozen=True)
class Size:
    """Sizes of a model and of its batch (B, T)."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    batch: int
    tokens: int
    bottleneck: int  # of an adapter
    family: str = "gpt2"  # gpt2 | llama
    key_heads: int | None = None
    ffn_width: int | None = None  # None: 4 · width


SIZES = {
    "nano": Size(64, 8, 2, 2, 1, 8, 4),
    "tt": Size(256, 64, 2, 2, 8, 32, 16),
    "tiny": Size(1024, 128, 4, 4, 32, 64, 32),
    "llama": Size(1024, 128, 4, 4, 32, 64, 32, "llama"),
    "small": Size(50257, 768, 12, 12, 4, 128, 64),
    "llama-135m": Size(49152, 576, 30, 9, 1, 64, 64, "llama", key_heads=3, ffn_width=1536),
}
GENERATED = "tiny", "small", "llama-135m"  # sizes of models that generate
METHODS = "full", "prompt", "prefix", "adapter", "lora", "ia3", "bitfit", "probe"
LABELS = "everywhere", "answer"


def exists(size: str, method: str, labels: str = "everywhere") -> bool:
    """Return whether there is such a case: Llama has no biases, a probe no labels of tokens.

    The largest model only generates.
    """
    no_biases = SIZES[size].family == "llama" and method == "bitfit"
    no_tokens = method == "probe" and labels == "answer"
    return not (size == "llama-135m" or no_biases or no_tokens)


def batch(size: str, method: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Return ids (B, T), and labels: (B,) of a probe, or else (B, T), -100 where there is none.

    An answer is the last quarter of a text.  The first token has no label: after a prompt, PEFT
    would predict it, too.
    """
    s, rng = SIZES[size], np.random.default_rng(0)
    ids = rng.integers(0, s.vocabulary, (s.batch, s.tokens))
    if method == "probe":
        return ids, rng.integers(0, CLASSES, s.batch)
    first = s.tokens * 3 // 4 if labels == "answer" else 1
    return ids, np.where(np.arange(s.tokens) < first, -100, ids)


def texts(size: str, rows: int, tokens: int = 16) -> np.ndarray:
    """Return ids (rows, tokens)."""
    s = SIZES[size]
    return np.random.default_rng(0).integers(0, s.vocabulary, (rows, tokens))
