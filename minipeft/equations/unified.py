"""The unified view, and the number of parameters of each method: He et al. 2022, table 1, §4."""

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
from .literal import causal_attn, gelu, linear, mlp, queries_keys_values, softmax, split_heads
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


def compose(design, h, Δh, s=1.0, λ=0.0):
    """h + Δh, h + s Δh, or (1 - λ) h + λ Δh"""
    if design.composition == GATED:
        return (1 - λ) * h + λ * Δh
    return h + (s if design.composition == SCALED else 1) * Δh


def prefixed_head(design, θ, x, head):
    """A head with W_down = P_kᵀ [W_q, b_q]/√d acting on [x; 1],  W_up = P_v"""
    Q, K, V, W_q, b_q, P_key, P_value = head
    x_1 = np.vstack([x, np.ones(x.shape[1])])
    W_down = P_key.T @ np.hstack([W_q, b_q]) / math.sqrt(θ.d)
    h, λ = causal_attn(Q, K, V), gate(Q, K, P_key, causal_attn, θ.d)
    return compose(design, h, delta(design, x_1, h, W_down, P_value), λ=λ)


def multi_head_adapter(design, θ, x, W_down, W_up):
    """W_o [head_1 + Δh_1; …; head_H + Δh_H]"""
    heads = split_heads(θ, *queries_keys_values(θ, x))
    d, r = θ.d, len(W_down) // (len(θ.o.W) // θ.d)
    adapted = []
    for i, (Q, K, V) in enumerate(heads):
        h, rows = causal_attn(Q, K, V), slice(i * r, (i + 1) * r)
        adapted.append(compose(design, h, delta(design, x, h, W_down[rows], W_up[:d, rows])))
    return linear(θ.o, np.vstack(adapted))


@equation("HE-1")
def unified_view(draw):
    """h ← h + s Δh or (1 - λ) h + λ Δh,  Δh = f(z W_down) W_up: table 1, row by row
    He et al. 2022, table 1 (W_down and W_up act on rows there)"""
    by_name = {design.method: design for design in UNIFIED}
    model = draw.model(layers=1)
    θ, words = columns(model).blocks[0], draw.words(shortest=2)
    layers = lambda γ: watch(model, words, γ)

    def case(name):
        γ = draw.adaptation(by_name[name].example, model)
        return by_name[name], γ, columns(γ)

    design, γ, (P,) = case("prefix tuning")
    x, y = layers(γ)["blocks.0.attn"][0], layers(γ)["blocks.0.attn.o"][0]
    heads = split_heads(θ.attn, *queries_keys_values(θ.attn, x), θ.attn.q.W, θ.attn.q.b, *P)
    yield np.vstack([prefixed_head(design, θ.attn, x, head) for head in heads]), y

    design, γ, _ = case("adapter")
    for parameters in γ.at.values():
        for name in ("b", "c"):  # the paper's adapters have no biases
            parameters[name].data[:] = 0
    for path, layer, (D, _, U, _) in zip(γ.at, (θ.attn.o, θ.mlp.down), columns(γ)):
        x, y = layers(γ)[path]
        h = linear(layer, x)
        yield compose(design, h, delta(design, x, h, D, U)), y
        yield Differs(compose(design, h, 2 * delta(design, x, h, D, U)), y)

    design, γ, (AB, _) = case("LoRA")
    x, y = layers(γ)["blocks.0.attn.q"]
    h = linear(θ.attn.q, x)
    yield compose(design, h, delta(design, x, h, *AB), s=3 / 2), y

    for name, s in (("parallel adapter", 1), ("scaled parallel adapter", 4)):
        design, γ, (_, at_mlp) = case(name)
        x, y = layers(γ)["blocks.0.mlp"]
        h = mlp(θ.mlp, x)
        yield compose(design, h, delta(design, x, h, *at_mlp), s), y

    design, γ, (PA,) = case("multi-head parallel adapter")
    x, y = layers(γ)["blocks.0.attn"]
    yield multi_head_adapter(design, θ.attn, x, *PA), y


def prompt_size(k, d):
    """k d"""
    return k * d


def prefix_size(k, d_kv, N):
    """2 k d_kv N: keys and values of N attentions"""
    return 2 * k * d_kv * N


def parallel_size(r, d, N):
    """2 r d N: W_down and W_up of N sub-layers, without biases"""
    return 2 * r * d * N


def multi_head_size(r, d, H):
    """H (r d + r d/H): W_down (r, d) and W_up (d/H, r) of each head"""
    return H * (r * d + r * d // H)


def lora_size(r, shapes):
    """Σ r (d_in + d_out) over matrices (d_in, d_out)"""
    return sum(r * (d_in + d_out) for d_in, d_out in shapes)


def ia3_size(attentions, d_kv, mlps, d_ff):
    """l_k and l_v of each attention, l_ff of each MLP"""
    return attentions * 2 * d_kv + mlps * d_ff


def mlp_size(k, h):
    """k h + 3 (h² + h): E and three linear layers, PEFT's P-tuning"""
    return k * h + 3 * (h * h + h)


def bert_biases(d, N):
    """11 d N + 2 d: q k v o down 5 d, up 4 d, two norms 2 d; norm of the embeddings and pooler"""
    return 11 * d * N + 2 * d


@equation("1.15")
def trained_parameters(draw):
    """k d;  2 k d_kv N;  2 r d;  Σ r (d_in + d_out);  N (d_k + d_v + d_ff);  k h + 3 (h² + h)
    He et al. 2022, §4; Lester et al. 2021, fig. 2; Adaptation chapter (corrected, X9: several
    methods train more than 1 %)"""
    k, r, N = draw.size(1, 9), draw.size(1, 9), draw.size(1, 3)
    model = draw.model(layers=N, heads=2, width=8, key_heads=draw.size(1, 2), positions="rotary")
    d, d_ff, d_kv = 8, 32, 4 * model.config.key_heads
    library = lambda method, model=model: size(method.attach(model, draw.rng))
    mlps, qv = [(d, d_ff), (d_ff, d)] * N, [(d, d), (d, d_kv)] * N
    yield prompt_size(k, d), library(PromptTuning(k)), EXACT
    yield prefix_size(k, d_kv, N), library(PrefixTuning(k)), EXACT
    yield parallel_size(r, d, N), library(ParallelAdapter(r, targets="mlp$")), EXACT
    mam = Chain(PrefixTuning(k), ParallelAdapter(r, 4.0, targets="mlp$"))
    yield prefix_size(k, d_kv, N) + parallel_size(r, d, N), library(mam), EXACT
    yield lora_size(r, mlps), library(LoRA(r, targets=r"mlp\.(up|down)$")), EXACT
    yield lora_size(r, qv), library(LoRA(r)), EXACT
    yield ia3_size(N, d_kv, N, d_ff), library(IA3()), EXACT
    three_layers = PTuning(f"[P]*{k} {{x}}", encoder="mlp", layers=3)
    yield mlp_size(k, d), library(three_layers), EXACT
    yield multi_head_size(r, d, 2) * N, library(MultiHeadAdapter(r)), EXACT
    bert = draw.model(kind=Encoder, make=BertConfig, layers=N)
    yield bert_biases(bert.config.width, N), library(BitFit(), bert), EXACT
    published = {  # numbers of parameters of published adaptations
        20_480: prompt_size(5, 4096),  # T5-XXL
        245_760: prefix_size(5, 1024, 24),  # GPT-2-medium
        11_468_800: prefix_size(200, 1024, 28),  # Llama-3.2-3B
        14_745_600: prefix_size(200, 1024, 36),  # BART-large: encoder, decoder, cross
        9_830_400: parallel_size(200, 1024, 24),  # BART-large, after each MLP
        25_067_520: lora_size(102, [(1024, 4096), (4096, 1024)] * 24),  # BART-large, MLPs
        27_377_664: prefix_size(30, 1024, 36) + parallel_size(512, 1024, 24),  # MAM, BART-large
        294_912: lora_size(8, [(768, 768)] * 24),  # RoBERTa-base
        540_672: ia3_size(72, 2048, 48, 5120),  # T0-3B
        28_382_208: mlp_size(20, 3072),  # PEFT's P-tuning, Llama-3.2-3B
        2_304: 64 * math.comb(9, 2),  # comparisons in a batch of InstructGPT's reward model
    }
    yield [*published], [*published.values()], EXACT
    percent = lambda n: round(100 * n / 406.29e6, 2)  # of BART-large
    sizes = 14_745_600, 9_830_400, 25_067_520, 27_377_664
    yield [percent(n) for n in sizes], [3.63, 2.42, 6.17, 6.74], EXACT
    yield 0.09, round(100 * bert_biases(768, 12) / 109.48e6, 2), EXACT  # BERT-base
