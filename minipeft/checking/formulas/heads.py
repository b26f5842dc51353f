"""Equations of heads, search and derivatives, and usual slips: pooling, probes, softmax, norms.

B texts   T tokens   D width   C classes   V vocabulary   S keys
"""

import numpy as np

from ...autograd.functional import attention as library_attention
from ...autograd.functional import layer_norm
from ...methods import Probe
from ...model.heads import mean as library_mean
from ...prompting.autoprompt import first_order
from ..formula import Argument, formula
from .attentions import padded, softmax

MASK = Argument("B T", padded, neutral=1.0)
mean_of = lambda h, weights: (h * weights[..., None]).sum(1)
real_mean = lambda h, mask: mean_of(h, (mask / mask.sum(1, keepdims=True)).astype(h.dtype))
last_column = lambda mask: mask.shape[1] - 1 - np.argmax(mask[:, ::-1], 1)
last_token = lambda h, mask: h[np.arange(len(h)), last_column(mask)]
first_token = lambda h, mask: h[np.arange(len(h)), np.argmax(mask, 1)]

# -- pooling and probes

POOLS = {  # right for another pool
    "the state of the last token": last_token,
    "the state of the first token": first_token,
}
WRONG_POOLS = [  # name, what it does, pool, where it was seen
    (
        "the mean is over padding, too",
        "padding changes a text: sum over real tokens, and divide by their number",
        lambda h, mask: h.mean(1),
        "autoliuweijie/BERT-whitening-pytorch#13, jsboige/CoursIA#15045",
    ),
    (
        "the sum of real tokens is divided by T",
        "divide by the number of real tokens, Σ m",
        lambda h, mask: mean_of(h, mask) / h.shape[1],
        "",
    ),
    ("a sum instead of a mean", "divide by the number of real tokens, Σ m", mean_of, ""),
    (
        "the last column instead of the last token",
        "a text that is padded on the right ends earlier",
        lambda h, mask: h[:, -1],
        "huggingface/peft#764",
    ),
    (
        "the first column instead of the first token",
        "a text that is padded on the left begins later",
        lambda h, mask: h[:, 0],
        "StarlightSearch/EmbedAnything#213",
    ),
]


@formula(library_mean, {"h": "B T D", "mask": MASK})
def pooling(h, mask):
    """Σ m_t h_t / Σ m_t,  m_t = 0 at padding
    Reimers & Gurevych 2019, §3"""
    return real_mean(h, mask)


@formula(Probe, {"h": "B T D", "mask": MASK, "W": "D C", "b": Argument("C", neutral=0.0)})
def probe(h, mask, W, b):
    """softmax(W pool(h) + b), with the mean of real tokens as pool
    Alain & Bengio 2016, §3"""
    return softmax(real_mean(h, mask) @ W + b)


for name, pool in POOLS.items():
    pooling.variants[name] = pool
    probe.variants[name] = lambda h, mask, W, b, pool=pool: softmax(pool(h, mask) @ W + b)
for name, says, pool, seen in WRONG_POOLS:
    pooling.slip(name, says, pool, seen)
    probe.slip(name, says, lambda h, mask, W, b, pool=pool: softmax(pool(h, mask) @ W + b), seen)
probe.slip(
    "logits instead of probabilities",
    "return the softmax of the logits",
    lambda h, mask, W, b: real_mean(h, mask) @ W + b,
)
probe.slip(
    "softmax over texts",
    "the classes of each text sum to one: softmax over the last axis",
    lambda h, mask, W, b: softmax(real_mean(h, mask) @ W + b, axis=0),
    "nerdai/llms-from-scratch-rs#30",
)
probe.slip(
    "sigmoid instead of softmax",
    "classes exclude each other: softmax",
    lambda h, mask, W, b: 1 / (1 + np.exp(-real_mean(h, mask) @ W - b)),
)

# -- search, derivatives


@formula(
    first_order,
    {
        "W": Argument("V D", lambda rng, V, D: rng.normal(size=(5 * V, D))),
        "g": "D",
        "k": Argument("", lambda rng: 4),
    },
)
def autoprompt(W, g, k):
    """the k words w of least e_wᵀ ∂L/∂h, which lower the loss L most
    Shin et al. 2020, §2.2"""
    return np.argsort(W @ g, kind="stable")[:k]


autoprompt.slip(
    "the sign: words that raise the loss",
    "g is the gradient of the loss: take the least W g",
    lambda W, g, k: np.argsort(-W @ g, kind="stable")[:k],
    "Eric-Wallace/universal-triggers#17",
)
autoprompt.slip(
    "the largest |W g|",
    "the sign says whether the loss falls",
    lambda W, g, k: np.argsort(-abs(W @ g), kind="stable")[:k],
)


@formula(library_attention, {"x": "T S", "g": "T S"})
def backward(x, g):
    """dx = y ⊙ (g - Σ g ⊙ y),  y = softmax(x)
    Vaswani et al. 2017, eq. 1"""
    y = softmax(x)
    return y * (g - (g * y).sum(-1, keepdims=True))


backward.slip(
    "only the diagonal: y (1 - y) g",
    "each output depends on all x: subtract y Σ g y",
    lambda x, g: softmax(x) * (1 - softmax(x)) * g,
    "deeplearning4j/libnd4j#440",
)
backward.slip("Σ g y is left out", "subtract it from g", lambda x, g: softmax(x) * g)
backward.slip(
    "Σ g instead of Σ g y",
    "the sum is weighted by y",
    lambda x, g: softmax(x) * (g - g.sum(-1, keepdims=True)),
)
backward.slip(
    "sums over the wrong axis",
    "softmax and the sum are over the last axis",
    lambda x, g: softmax(x, 0) * (g - (g * softmax(x, 0)).sum(0)),
)


def normal(x):
    """Return n = (x - mean) / √(var + ε), and 1/√(var + ε)."""
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return (x - x.mean(-1, keepdims=True)) * r, r


@formula(layer_norm, {"x": "T D", "g": "T D"})
def norm_backward(x, g):
    """dx = (g - mean g - n mean(g n)) / √(var + ε),  n = (x - mean x) / √(var + ε)
    Ba et al. 2016, eq. 4"""
    n, r = normal(x)
    return r * (g - g.mean(-1, keepdims=True) - n * (g * n).mean(-1, keepdims=True))


norm_backward.slip(
    "the variance is taken as a constant",
    "it depends on x: subtract n mean(g n)",
    lambda x, g: normal(x)[1] * (g - g.mean(-1, keepdims=True)),
)
norm_backward.slip(
    "the mean is taken as a constant",
    "it depends on x: subtract mean g",
    lambda x, g: normal(x)[1] * (g - normal(x)[0] * (g * normal(x)[0]).mean(-1, keepdims=True)),
)
norm_backward.slip(
    "mean and variance are taken as constants", "both depend on x", lambda x, g: normal(x)[1] * g
)
