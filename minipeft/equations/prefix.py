"""What a prefix computes: Li & Liang 2021; He et al. 2022."""

import math

import numpy as np

from ..adaptation.adaptation import parameter
from ..methods import PrefixTuning
from .draw import columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import (
    add_positions,
    attn_op,
    block,
    causal_attn,
    embed,
    layer_norm,
    linear,
    lm_head,
    log_p,
    mlp,
    multi_head,
    queries_keys_values,
    self_attention,
    softmax,
    split_heads,
    with_prefix,
)


def LM(θ, z, i, h):
    """h_i = LM(z_i, h_<i): the keys and values of word z in every layer, and the logits after it"""
    x, h_i = add_positions(θ, embed(θ, [z]), i), []
    for l, layer in enumerate(θ.blocks):
        q, k, v = queries_keys_values(layer.attn, layer_norm(layer.ln1, x))
        h_i.append((k, v))
        K, V = (np.hstack(parts) for parts in zip(*(h_j[l] for h_j in h), (k, v)))
        x = x + multi_head(layer.attn, q, K, V)
        x = x + mlp(layer.mlp, layer_norm(layer.ln2, x))
    return h_i, lm_head(θ, layer_norm(θ.ln, x))


def prefix_model(θ, P, z):
    """h_i = P_θ[i, :] if i ∈ P_idx, else LM(z_i, h_<i): the logits after every word of z"""
    k, logits = P[0][0].shape[1], []
    h = [[(key[:, [i]], value[:, [i]]) for key, value in P] for i in range(k)]
    for i, word in enumerate(z, start=k):
        h_i, z_next = LM(θ, word, i, h)
        h.append(h_i)
        logits.append(z_next)
    return np.hstack(logits)


def gate(Q, K, P_key, attend, d):
    """λ(q) = Σ exp(P_keyᵀq/√d) / (Σ exp(P_keyᵀq/√d) + Σ exp(Kᵀq/√d)), over the keys that q sees"""
    λ = []
    for t, q in enumerate(Q.T):
        visible = K[:, : t + 1] if attend is causal_attn else K
        prefix, text = (np.exp(keys.T @ q / math.sqrt(d)).sum() for keys in (P_key, visible))
        λ.append(prefix / (prefix + text))
    return np.array(λ)


def mixture(Q, K, V, P_key, P_value, attend, d):
    """(1 - λ) ⊙ Attn(Q, K, V) + λ ⊙ Attn(Q, P_key, P_value)"""
    λ = gate(Q, K, P_key, attend, d)
    return (1 - λ) * attend(Q, K, V) + λ * attn_op(Q, P_key, P_value)


def zero_prefix_head(Q, K, V, k):
    """Attn(Q, K, V) · (1 - k/(k + Σ exp s)),  s = Kᵀq/√d"""
    S = K.T @ Q / math.sqrt(len(Q))
    sums = np.array([np.exp(S[: t + 1, t]).sum() for t in range(Q.shape[1])])
    return causal_attn(Q, K, V) * (1 - k / (k + sums))


def prefix_as_adapter(W_q, b_q, P_key, P_value, x):
    """W_up softmax(W_down x + b_down),  W_down = P_keyᵀ W_q/√d,  W_up = P_value"""
    W_down, b_down = (P_key.T @ w / math.sqrt(len(W_q)) for w in (W_q, b_q))
    return P_value @ softmax(W_down @ x + b_down)


def singular_values(X):
    """σ₁ ≥ σ₂ ≥ …"""
    return np.linalg.svd(X, compute_uv=False)


def deep_prompt_model(θ, S, E, attend):
    """block_l([S_l, X]) for each layer, of which the columns at S_l are dropped"""
    k = S[0].shape[1]
    X = add_positions(θ, E, start=k)
    for S_l, layer in zip(S, θ.blocks):
        X = block(layer, np.hstack([S_l, X]), attend=attend)[:, k:]
    return lm_head(θ, layer_norm(θ.ln, X))


@equation("PF-1")
def prefix_tuning(draw):
    """h_i = P_θ[i, :] if i ∈ P_idx else LM(z_i, h_<i);  max Σ_{i∈Y_idx} log p(z_i | h_<i)
    Li & Liang 2021, §4, eq. 3; Why prompts work"""
    model, θ, z, γ = draw.case(PrefixTuning(draw.size(1, 4)), shortest=3)
    literal = prefix_model(θ, columns(γ), z)
    yield literal, logits(model, z, γ)
    source = draw.size(2, len(z) - 1)  # number of words of x; those of y follow
    y_labels = np.where(np.arange(len(z)) < source, -100, z)
    objective = log_p(literal[:, source - 1 :], z[source:]).sum()
    yield objective, -model.loss(z[None], y_labels[None], γ, count=1).data
    yield Differs(objective, -model.loss(z[None], z[None], γ, count=1).data)


@equation("PF-2")
def prefix_attention(draw):
    """head = Attn(Q, [P_key, K], [P_value, V]),  L' = L + k
    Adaptation chapter, §11.2.3.3 (corrected, X1 to X4); Li & Liang 2021, §4"""
    for attend in (attn_op, causal_attn):
        γ = PrefixTuning(draw.size(1, 4))
        model, θ, words, γ = draw.case(γ, causal=attend is causal_attn)
        x, y = watch(model, words, γ)["blocks.0.attn"]
        yield self_attention(θ.blocks[0].attn, x, columns(γ)[0], attend), y
        yield with_prefix(θ, columns(γ), words, attend), logits(model, words, γ)
    empty = PrefixTuning(1).attach(model, draw.rng).map(lambda P: parameter(P.data[:0]))
    yield logits(model, words), logits(model, words, empty), EXACT


@equation("PF-3")
def gated_mixture(draw):
    """Attn(Q, [P_k, K], [P_v, V]) = (1 - λ) ⊙ Attn(Q, K, V) + λ ⊙ Attn(Q, P_k, P_v)
    He et al. 2022, eq. 7 and 8, where λ lacks its √d"""
    for attend in (attn_op, causal_attn):
        γ = PrefixTuning(draw.size(1, 4))
        model, θ, words, γ = draw.case(γ, causal=attend is causal_attn)
        layers, θ = watch(model, words, γ), θ.blocks[0].attn
        Q, K, V = queries_keys_values(θ, layers["blocks.0.attn"][0])
        heads = list(split_heads(θ, Q, K, V, *columns(γ)[0]))
        library = layers["blocks.0.attn.o"][0]  # the input of W_o: the heads
        yield np.vstack([mixture(*head, attend, θ.d) for head in heads]), library
        yield Differs(np.vstack([mixture(*head, attend, d=1) for head in heads]), library)


@equation("PF-4")
def prefix_is_an_adapter(draw):
    """Attn(W_q x, P_k, P_v) = W_up f(W_down x),  W_down = P_kᵀW_q/√d,  W_up = P_v,  f = softmax
    He et al. 2022, eq. 9"""
    k = draw.size(1, 2)  # less than the 4 rows of a head and the number of words
    model, θ, words, γ = draw.case(PrefixTuning(k, shift_positions=False), shortest=4)
    θ, layers = θ.blocks[0].attn, watch(model, words, γ)
    x, adapted = layers["blocks.0.attn"][0], layers["blocks.0.attn.o"][0]
    plain = watch(model, words)["blocks.0.attn.o"][0]
    Q, K, _ = queries_keys_values(θ, x)
    heads = split_heads(θ, Q, K, plain, adapted, θ.q.W, θ.q.b, *columns(γ)[0])
    for Q, K, plain, adapted, W_q, b_q, P_key, P_value in heads:
        λ = gate(Q, K, P_key, causal_attn, θ.d)
        Δh = adapted - (1 - λ) * plain
        yield λ * prefix_as_adapter(W_q, b_q, P_key, P_value, x), Δh
        yield np.zeros(θ.d - k), singular_values(Δh)[k:]  # its rank is at most k
        yield Differs(np.zeros(θ.d - k), singular_values(plain)[k:])


@equation("PF-5")
def prefix_has_no_order(draw):
    """Attn(Q, [P_kΠ, K], [P_vΠ, V]) = Attn(Q, [P_k, K], [P_v, V])
    derived from PF-3"""
    model, θ, words, γ = draw.case(PrefixTuning(draw.size(2, 4)))
    literal = with_prefix(θ, columns(γ), words)
    rolled = γ.map(lambda p: parameter(np.roll(p.data, 1, axis=0)))
    yield literal, logits(model, words, rolled)
    for p in γ.at.values():  # keys without their values
        p["P_key"].data = np.roll(p["P_key"].data, 1, axis=0)
    yield Differs(literal, logits(model, words, γ))


@equation("PF-6")
def zero_prefix(draw):
    """P_key = P_value = 0:  head · (1 - k/(k + Σ exp(s))), which is not the head
    derived from PF-3; a docstring of PEFT says that it has no effect (corrected, X24)"""
    model, θ, words, γ = draw.case(PrefixTuning(draw.size(1, 4), shift_positions=False), layers=1)
    zeros = γ.map(lambda p: parameter(0 * p.data))
    layers = watch(model, words, zeros)
    θ, x = θ.blocks[0].attn, layers["blocks.0.attn"][0]
    Q, K, V = queries_keys_values(θ, x)
    heads = split_heads(θ, Q, K, V)
    literal = np.vstack([zero_prefix_head(*head, γ.method.length) for head in heads])
    yield literal, layers["blocks.0.attn.o"][0]
    yield Differs(logits(model, words), logits(model, words, zeros))
    γ.at["blocks.0.attn"]["P_key"].data[:] = -1e6 * Q[:, 0]  # no effect if P_keyᵀq → -∞
    yield logits(model, words[:1]), logits(model, words[:1], γ)


@equation("PF-7")
def deep_prompt(draw):
    """S_l in front of block l is the prefix P_key = W_k LN(S_l) + b_k,  P_value = W_v LN(S_l) + b_v
    Prompting notes, §1.1.1, where this is called prefix tuning (corrected, X17)"""
    for attend in (attn_op, causal_attn):
        model, words = draw.model(causal=attend is causal_attn), draw.words()
        θ, k = columns(model), draw.size(1, 4)
        S = [draw.array(len(θ.ln.g), k) for _ in θ.blocks]
        γ, wrong = (PrefixTuning(k).attach(model, draw.rng) for _ in range(2))
        for S_l, layer, path in zip(S, θ.blocks, γ.at):
            n = layer_norm(layer.ln1, S_l)
            P_key, P_value = linear(layer.attn.k, n), linear(layer.attn.v, n)
            γ.at[path] = {"P_key": parameter(P_key.T), "P_value": parameter(P_value.T)}
            wrong.at[path] = {"P_key": parameter(S_l.T), "P_value": parameter(S_l.T)}
        literal = deep_prompt_model(θ, S, embed(θ, words), attend)
        yield literal, logits(model, words, γ)
        yield Differs(literal, logits(model, words, wrong))
