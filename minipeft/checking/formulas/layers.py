"""Equations of layers, and usual slips: LoRA, DoRA, (IA)³, adapters, prompts, dropout.

T rows   I inputs   O outputs   r rank, width of a bottleneck   D width   P virtual tokens
"""

import numpy as np

from ...autograd.functional import dropout as library_dropout
from ...methods import IA3, Adapter, DoRA, LoRA, PromptTuning
from ..formula import Argument, formula
from ..methods import of_layer, of_output, of_prompt

SCALE = Argument("", lambda rng: float(rng.uniform(3, 9)))
BIAS = Argument("O", neutral=0.0)
FACTOR = Argument("1 O", lambda rng, *shape: rng.uniform(0.5, 2, shape))
NEAR = 0.05  # the change of outputs that "near the identity" allows


@formula(
    LoRA,
    {"x": "T I", "W": "I O", "b": BIAS, "A": "I r", "B": "r O", "alpha": SCALE},
    of_method=of_layer("blocks.0.attn.q"),
    promised=0.0,
)
def lora(x, W, b, A, B, alpha):
    """h = W₀ x + b + (α/r) B A x
    Hu et al. 2021, eq. 3"""
    return x @ W + b + alpha / A.shape[1] * (x @ A @ B)


def scaled(scale):
    """Return LoRA with another scale of B A x, a function of α and r."""
    return lambda x, W, b, A, B, alpha: x @ W + b + scale(alpha, A.shape[1]) * (x @ A @ B)


lora.slip(
    "α instead of α/r",
    "B A x is multiplied by α, so the update grows with the rank; divide α by the rank r",
    scaled(lambda α, r: α),
    "rasbt/LLMs-from-scratch#821, Blaizzy/mlx-vlm#845",
)
lora.slip(
    "the scale is left out",
    "B A x is not scaled; multiply it by α/r",
    scaled(lambda α, r: 1),
    "jingyaogong/minimind#577",
)
lora.slip(
    "1/r instead of α/r", "α is left out; t-few's LoRA has this scale", scaled(lambda α, r: 1 / r)
)
lora.slip("r/α instead of α/r", "the fraction is upside down", scaled(lambda α, r: r / α))
lora.slip(
    "α/√r instead of α/r",
    "this is rank-stabilised LoRA, Kalajdzievski 2023: LoRA(rank_stabilised=True)",
    scaled(lambda α, r: α / r**0.5),
)
lora.slip(
    "W₀ x is left out",
    "only the update is returned; add the frozen layer's output",
    lambda x, W, b, A, B, alpha: alpha / A.shape[1] * (x @ A @ B),
)
lora.slip(
    "the bias is left out",
    "add b; in a method, layer(x) is W₀ x + b",
    lambda x, W, b, A, B, alpha: lora.right(x, W, 0, A, B, alpha),
)
lora.slip(
    "W₀ x is scaled, too",
    "α/r multiplies the frozen output as well; it is of B A x only",
    lambda x, W, b, A, B, alpha: alpha / A.shape[1] * (x @ W + x @ A @ B) + b,
)


@formula(
    DoRA,
    {"x": "T I", "W": "I O", "b": BIAS, "A": "I r", "B": "r O", "m": FACTOR, "alpha": SCALE},
    of_method=of_layer("blocks.0.attn.q"),
    promised=1e-12,
)
def dora(x, W, b, A, B, m, alpha):
    """h = (m V/‖V‖) x + b,  V = W₀ + (α/r) B A
    Liu et al. 2024, eq. 5"""
    V = W + alpha / A.shape[1] * (A @ B)
    return x @ (m * V / np.sqrt((V**2).sum(0))) + b


def decomposed(norm, scale=lambda α, r: α / r):
    """Return DoRA with another norm, a function of V and W₀, or scale."""

    def wrong(x, W, b, A, B, m, alpha):
        V = W + scale(alpha, A.shape[1]) * (A @ B)
        return x @ (m * V / norm(V, W)) + b

    return wrong


columns = lambda V, W: np.sqrt((V**2).sum(0))
dora.slip("α instead of α/r", "divide α by the rank r", decomposed(columns, lambda α, r: α))
dora.slip(
    "the norm of the weights of an input",
    "‖·‖ is the norm of the weights of one output: of a column of W (I, O), of a row of (O, I)",
    decomposed(lambda V, W: np.sqrt((V**2).sum(1, keepdims=True))),
    "huggingface/peft#2348",
)
dora.slip(
    "‖W₀‖ instead of ‖V‖",
    "divide by the norm of the adapted weights V",
    decomposed(lambda V, W: columns(W, V)),
)
dora.slip(
    "one norm of the whole matrix",
    "each output has a norm of its own",
    decomposed(lambda V, W: np.sqrt((V**2).sum())),
)
dora.slip("‖V‖ is left out", "V is not divided by its norms", decomposed(lambda V, W: 1))
dora.slip(
    "the bias is scaled, too",
    "m/‖V‖ multiplies the weights only: subtract b from the frozen output first",
    lambda x, W, b, A, B, m, alpha: (
        dora.right(x, W, 0, A, B, m, alpha) + b * m / columns(W + alpha / A.shape[1] * (A @ B), W)
    ),
    "huggingface/peft#2371",
)
dora.slip(
    "W₀ x is added twice",
    "the frozen output is added to that of V, which has it; add (m/‖V‖ - 1) W₀ x",
    lambda x, W, b, A, B, m, alpha: x @ W + dora.right(x, W, b, A, B, m, alpha),
    "NVlabs/DoRA#30",
)


@formula(
    IA3,
    {"x": "T I", "W": "I O", "b": BIAS, "l": FACTOR},
    of_method=of_layer("blocks.0.attn.k"),
    promised=0.0,
)
def ia3(x, W, b, l):
    """h = l ⊙ (W₀ x + b)
    Liu et al. 2022, §3.3"""
    return (x @ W + b) * l


ia3.slip(
    "1 + l instead of l",
    "l is the factor itself; it starts at 1",
    lambda x, W, b, l: (x @ W + b) * (1 + l),
)
ia3.slip("l is added", "l multiplies", lambda x, W, b, l: x @ W + b + l)
ia3.slip(
    "the bias is not scaled",
    "l multiplies the output of the layer, so its bias, too",
    lambda x, W, b, l: x @ W * l + b,
)

GELU = (2 / np.pi) ** 0.5


def gelu(x):
    """x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2"""
    return x / 2 * (1 + np.tanh(GELU * (x + 0.044715 * x**3)))


@formula(
    Adapter,
    {
        "h": "T D",
        "D": "D r",
        "b": Argument("r", neutral=0.0),
        "U": "r D",
        "c": Argument("D", neutral=0.0),
    },
    of_method=of_output("blocks.0.mlp.down"),
    promised=NEAR,
)
def adapter(h, D, b, U, c):
    """h + U σ(D h + b) + c
    Houlsby et al. 2019, §2.1"""
    return h + gelu(h @ D + b) @ U + c


adapter.variants["σ is relu"] = lambda h, D, b, U, c: h + np.maximum(h @ D + b, 0) @ U + c
adapter.variants["σ is the logistic function times its argument, silu"] = lambda h, D, b, U, c: (
    h + (h @ D + b) / (1 + np.exp(-h @ D - b)) @ U + c
)
adapter.slip(
    "h is not added",
    "an adapter has a skip connection inside it: add h; without it, it starts near 0",
    lambda h, D, b, U, c: gelu(h @ D + b) @ U + c,
    "rabeehk/compacter#6, where another class adds it",
)
adapter.slip(
    "σ is left out",
    "without the activation, it is linear: a LoRA of the identity",
    lambda h, D, b, U, c: h + (h @ D + b) @ U + c,
)
adapter.slip(
    "σ comes last",
    "σ is between the two products, not after them",
    lambda h, D, b, U, c: h + gelu((h @ D + b) @ U + c),
)
adapter.slip(
    "the input of the layer is read, not its output",
    "this is the parallel adapter of He et al. 2022: minipeft/methods/parallel.py",
    lambda h, D, b, U, c: h + gelu(h / 2 @ D + b) @ U + c,  # where `of_output` has x = h/2
)


@formula(PromptTuning, {"X": "T D", "P": "P D"}, of_method=of_prompt)
def prompt(X, P):
    """[P; X]
    Lester et al. 2021, §2"""
    return np.concatenate([P, X])


prompt.slip("[X; P]", "the prompt comes first", lambda X, P: np.concatenate([X, P]))
prompt.slip(
    "the prompt replaces words",
    "P is written over the first rows of X; it stands in front of them",
    lambda X, P: np.concatenate([P, X[len(P) :]]),
)
prompt.slip(
    "the rows of P are reversed",
    "row 0 of P comes first",
    lambda X, P: np.concatenate([P[::-1], X]),
)


def kept(y, x, p, rng):
    """Return by what the kept numbers are multiplied, and the share of zeros, to one digit."""
    factors = (y / x)[y != 0]
    same = factors.size and np.ptp(factors) < 1e-5 * abs(factors[0])
    return np.array([factors[0] if same else np.nan, round((y == 0).mean(), 1)])


@formula(
    library_dropout,
    {
        "x": Argument("", lambda rng: rng.uniform(0.5, 2, (200, 100))),
        "p": Argument("", lambda rng: float(rng.choice([0.1, 0.2, 0.3, 0.4]))),
        "rng": Argument(
            "", lambda rng: np.random.default_rng(int(rng.integers(10**6))), neutral=0.0
        ),
    },
    view=kept,
)
def dropout(x, p, rng):
    """x m / (1 - p),  m = 0 with probability p, and else 1
    Srivastava et al. 2014"""
    return np.where(draws(x) < p, 0, x / (1 - p))


def draws(x):
    """Return uniform random numbers of the shape of x."""
    return np.random.default_rng(1).random(x.shape)


dropout.slip(
    "1/p instead of 1/(1 - p)",
    "p is the probability of a zero, so 1 - p of the numbers are kept",
    lambda x, p, rng: np.where(draws(x) < p, 0, x / p),
    "rasbt/LLMs-from-scratch#431",
)
dropout.slip(
    "the kept numbers are not scaled",
    "divide by 1 - p in training, so that the mean is that of x",
    lambda x, p, rng: np.where(draws(x) < p, 0, x),
)
dropout.slip(
    "p is the probability to keep",
    "p is the probability of a zero, as in PyTorch",
    lambda x, p, rng: np.where(draws(x) < 1 - p, 0, x / p),
    "dlsyscourse/hw2#15",
)
