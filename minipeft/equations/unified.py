"""The unified view, and how many numbers each method trains: He et al. 2022, table 1 and §4."""

import math

import numpy as np

from ..adaptation.chain import Chain
from ..autograd.nn import size
from ..methods import (
    IA3,
    BitFit,
    LoRA,
    MultiHeadAdapter,
    ParallelAdapter,
    PrefixTuning,
    PromptTuning,
    PTuning,
)
from ..methods.unified import GATED, SCALED, UNIFIED
from ..model.bert import BertConfig, Encoder
from .draw import columns, watch
from .entry import EXACT, Differs, equation
from .literal import by_head, causal, gelu, linear, mlp, queries_keys_values, softmax
from .prefix import gate

FORMS = {
    "softmax": softmax,
    "relu": lambda z: np.maximum(z, 0),
    "gelu": gelu,
    "none": lambda z: z,
}


def delta(design, x, h, W_down, W_up):
    """Δh = W_up f(W_down z),  z = x if parallel, h if sequential"""
    z = x if design.insertion == "parallel" else h
    return W_up @ FORMS[design.f](W_down @ z)


def composed(design, h, Δh, s=1.0, λ=0.0):
    """h + Δh, h + s Δh, or (1 - λ) h + λ Δh"""
    if design.composition == GATED:
        return (1 - λ) * h + λ * Δh
    return h + (s if design.composition == SCALED else 1) * Δh


def prefixed_head(design, θ, x, head):
    """W_down = P_kᵀ W_q/√d, with the bias as a column of x's; W_up = P_v"""
    Q, K, V, W_q, b_q, P_key, P_value = head
    one = np.vstack([x, np.ones(x.shape[1])])
    W_down = P_key.T @ np.hstack([W_q, b_q]) / math.sqrt(θ.d)
    h, λ = causal(Q, K, V), gate(Q, K, P_key, causal, θ.d)
    return composed(design, h, delta(design, one, h, W_down, P_value), λ=λ)


def multi_head(design, θ, x, W_down, W_up):
    """An adapter of r columns for each head, before W_o"""
    heads = by_head(θ, *queries_keys_values(θ, x))
    d, r = θ.d, len(W_down) // (len(θ.o.W) // θ.d)
    new = []
    for i, (Q, K, V) in enumerate(heads):
        h, rows = causal(Q, K, V), slice(i * r, (i + 1) * r)
        new.append(composed(design, h, delta(design, x, h, W_down[rows], W_up[:d, rows])))
    return linear(θ.o, np.vstack(new))


@equation("HE-1")
def unified_view(draw):
    """h ← h + s Δh or (1 - λ) h + λ Δh,  Δh = f(z W_down) W_up: table 1, row by row
    He et al. 2022, table 1 (W_down and W_up act on rows there)"""
    by_name = {design.method: design for design in UNIFIED}
    model = draw.model(layers=1)
    θ, words = columns(model).blocks[0], draw.words(least=2)
    seen = lambda γ: watch(model, words, γ)

    def case(name):
        γ = draw.attached(by_name[name].example, model)
        return by_name[name], γ, columns(γ)

    design, γ, (P,) = case("prefix tuning")
    x, ours = seen(γ)["blocks.0.attn"][0], seen(γ)["blocks.0.attn.o"][0]
    heads = by_head(θ.attn, *queries_keys_values(θ.attn, x), θ.attn.q.W, θ.attn.q.b, *P)
    yield np.vstack([prefixed_head(design, θ.attn, x, head) for head in heads]), ours

    design, γ, _ = case("adapter")
    for added in γ.at.values():
        for bias in added[1::2]:
            bias.data[:] = 0
    for path, layer, (D, _, U, _) in zip(γ.at, (θ.attn.o, θ.mlp.down), columns(γ)):
        x, ours = seen(γ)[path]
        h = linear(layer, x)
        yield composed(design, h, delta(design, x, h, D, U)), ours
        yield Differs(composed(design, h, 2 * delta(design, x, h, D, U)), ours)

    design, γ, (AB, _) = case("LoRA")
    x, ours = seen(γ)["blocks.0.attn.q"]
    h = linear(θ.attn.q, x)
    yield composed(design, h, delta(design, x, h, *AB), s=3 / 2), ours

    for name, s in (("parallel adapter", 1), ("scaled parallel adapter", 4)):
        design, γ, (_, at_mlp) = case(name)
        x, ours = seen(γ)["blocks.0.mlp"]
        h = mlp(θ.mlp, x)
        yield composed(design, h, delta(design, x, h, *at_mlp), s), ours

    design, γ, (PA,) = case("multi-head parallel adapter")
    x, ours = seen(γ)["blocks.0.attn"]
    yield multi_head(design, θ.attn, x, *PA), ours


def prompt_size(k, d):
    """k · d"""
    return k * d


def prefix_size(k, d_kv, attentions):
    """A key and a value in each"""
    return 2 * k * d_kv * attentions


def parallel_size(r, d, parts):
    """W_down and W_up, no biases"""
    return 2 * r * d * parts


def multi_head_size(r, d, H):
    """W_down (r, d) and W_up (d/H, r) for each head"""
    return H * (r * d + r * d // H)


def lora_size(r, shapes):
    """A (r, I) and B (O, r) for each matrix (O, I)"""
    return sum(r * (i + o) for i, o in shapes)


def ia3_size(attentions, d_kv, mlps, F):
    """l_k and l_v, l_ff"""
    return attentions * 2 * d_kv + mlps * F


def mlp_size(k, h):
    """E, and three linear layers: PEFT's P-tuning"""
    return k * h + 3 * (h * h + h)


def biases_of_bert(d, N):
    """q k v o down: 5 d, up: 4 d, two norms: 2 d; a norm of the embeddings and a pooler"""
    return 11 * d * N + 2 * d


@equation("1.15")
def trained_numbers(draw):
    """k d;  2 k d_kv N;  2 r d;  Σ r (d_in + d_out);  N (d_k + d_v + d_ff);  k h + 3 (h² + h)
    001, 003 (X9: more than 1 % in several); the papers' models, as printed there"""
    k, r, N = draw.size(1, 9), draw.size(1, 9), draw.size(1, 3)
    model = draw.model(layers=N, heads=2, width=8, key_heads=draw.size(1, 2), positions="rotary")
    d, F, d_kv = 8, 32, 4 * model.config.key_heads
    ours = lambda method, model=model: size(method.attach(model, draw.rng))
    both, qv = [(d, F), (F, d)] * N, [(d, d), (d, d_kv)] * N
    yield prompt_size(k, d), ours(PromptTuning(k)), EXACT
    yield prefix_size(k, d_kv, N), ours(PrefixTuning(k)), EXACT
    yield parallel_size(r, d, N), ours(ParallelAdapter(r, targets="mlp$")), EXACT
    mam = Chain(PrefixTuning(k), ParallelAdapter(r, 4.0, targets="mlp$"))
    yield prefix_size(k, d_kv, N) + parallel_size(r, d, N), ours(mam), EXACT
    yield lora_size(r, both), ours(LoRA(r, targets=r"mlp\.(up|down)$")), EXACT
    yield lora_size(r, qv), ours(LoRA(r)), EXACT
    yield ia3_size(N, d_kv, N, F), ours(IA3()), EXACT
    yield mlp_size(k, d), ours(PTuning(f"[P]*{k} {{x}}", encoder="mlp", layers=3)), EXACT
    yield multi_head_size(r, d, 2) * N, ours(MultiHeadAdapter(r)), EXACT
    bert = draw.model(kind=Encoder, make=BertConfig, layers=N)
    yield biases_of_bert(bert.config.width, N), ours(BitFit(), bert), EXACT
    yield (
        [
            prompt_size(5, 4096),  # T5-XXL
            prefix_size(5, 1024, 24),  # GPT-2-medium
            prefix_size(200, 1024, 28),  # Llama-3.2-3B
            prefix_size(200, 1024, 36),  # BART-large: encoder, decoder, cross
            parallel_size(200, 1024, 24),  # BART-large, behind each MLP
            lora_size(102, [(1024, 4096), (4096, 1024)] * 24),  # BART-large, MLPs
            prefix_size(30, 1024, 36) + parallel_size(512, 1024, 24),  # MAM, BART-large
            lora_size(8, [(768, 768)] * 24),  # RoBERTa-base
            ia3_size(72, 2048, 48, 5120),  # T0-3B
            mlp_size(20, 3072),
            64 * math.comb(9, 2),  # comparisons in a batch of a reward model
        ],
        [20480, 245760, 11468800, 14745600, 9830400]
        + [25067520, 27377664, 294912, 540672, 28382208, 2304],
        EXACT,
    )
    share = lambda n: round(100 * n / 406.29e6, 2)  # of BART-large, in percent
    yield (
        [share(14745600), share(9830400), share(25067520), share(27377664)],
        [3.63, 2.42, 6.17, 6.74],
        EXACT,
    )
    yield 0.09, round(100 * biases_of_bert(768, 12) / 109.48e6, 2), EXACT  # BERT-base
