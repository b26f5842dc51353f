"""What a prefix computes: 003 §11.2.3.3; Li & Liang 2021; He et al. 2022.

003 prints K_in = [P(i)_key, K], V_constant = [P(i)_constant, V], θ = Attn-op(…): damaged, it is
K_prefix = [P_key⁽ⁱ⁾, K], V_prefix = [P_value⁽ⁱ⁾, V], head_i = Attn-op(Q, K_prefix, V_prefix).
"""

import math

import numpy as np

from ..adaptation.adaptation import parameter
from ..methods import PrefixTuning
from .draw import columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import (
    attn_op,
    block,
    by_head,
    causal,
    embed,
    layer_norm,
    linear,
    log_p,
    mlp,
    multi_head,
    place,
    prefixed,
    queries_keys_values,
    self_attention,
    softmax,
    to_words,
)


def LM(θ, z, i, h):
    """h_i = LM(z_i, h_<i): keys and values of word z in every layer; and the next word's logits"""
    x, own = place(θ, embed(θ, [z]), i), []
    for l, layer in enumerate(θ.blocks):
        q, k, v = queries_keys_values(layer.attn, layer_norm(layer.ln1, x))
        own.append((k, v))
        K, V = (np.hstack(left) for left in zip(*(h_j[l] for h_j in h), (k, v)))
        x = x + multi_head(layer.attn, q, K, V)
        x = x + mlp(layer.mlp, layer_norm(layer.ln2, x))
    return own, to_words(θ, layer_norm(θ.ln, x))


def prefix_tuned(θ, P, z):
    """h_i = P_θ[i, :] if i ∈ P_idx, else LM(z_i, h_<i): the logits under every word of z"""
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
        seen = K[:, : t + 1] if attend is causal else K
        prefix, text = (np.exp(keys.T @ q / math.sqrt(d)).sum() for keys in (P_key, seen))
        λ.append(prefix / (prefix + text))
    return np.array(λ)


def gated(Q, K, V, P_key, P_value, attend, d):
    """(1 - λ) ⊙ Attn(Q, K, V) + λ ⊙ Attn(Q, P_key, P_value)"""
    λ = gate(Q, K, P_key, attend, d)
    return (1 - λ) * attend(Q, K, V) + λ * attn_op(Q, P_key, P_value)


def behind_zeros(Q, K, V, k):
    """Attn(Q, K, V) · (1 - k/(k + Σ exp s)),  s = Kᵀq/√d"""
    S = K.T @ Q / math.sqrt(len(Q))
    sums = np.array([np.exp(S[: t + 1, t]).sum() for t in range(Q.shape[1])])
    return causal(Q, K, V) * (1 - k / (k + sums))


def prefix_as_adapter(W_q, b_q, P_key, P_value, x):
    """W_up softmax(W_down x + b_down),  W_down = P_keyᵀ W_q/√d,  W_up = P_value"""
    W_down, b_down = (P_key.T @ w / math.sqrt(len(W_q)) for w in (W_q, b_q))
    return P_value @ softmax(W_down @ x + b_down)


def singular_values(X):
    return np.linalg.svd(X, compute_uv=False)


def deep_prompted(θ, S, E, attend):
    """k slots in front, thrown away after every block and filled with S_l before the next"""
    k = S[0].shape[1]
    X = place(θ, E, start=k)
    for S_l, layer in zip(S, θ.blocks):
        X = block(layer, np.hstack([S_l, X]), attend=attend)[:, k:]
    return to_words(θ, layer_norm(θ.ln, X))


@equation("PF-1")
def prefix_tuning(draw):
    """h_i = P_θ[i, :] if i ∈ P_idx else LM(z_i, h_<i);  max Σ_{i∈Y_idx} log p(z_i | h_<i)
    001; Li & Liang 2021, §4, eq. 3"""
    model, θ, z, γ = draw.case(PrefixTuning(draw.size(1, 4)), least=3)
    literal = prefix_tuned(θ, columns(γ), z)
    yield literal, logits(model, z, γ)
    source = draw.size(2, len(z) - 1)  # words of x; Y_idx is what follows
    only_y = np.where(np.arange(len(z)) < source, -100, z)
    objective = log_p(literal[:, source - 1 :], z[source:]).sum()
    yield objective, -model.loss(z[None], only_y[None], γ, count=1).data
    yield Differs(objective, -model.loss(z[None], z[None], γ, count=1).data)


@equation("PF-2")
def prefix_attention(draw):
    """head = Attn(Q, [P_key, K], [P_value, V]),  L' = L + k
    003 §11.2.3.3 (X1 to X4); Li & Liang 2021, §4"""
    for attend in (attn_op, causal):
        γ = PrefixTuning(draw.size(1, 4))
        model, θ, words, γ = draw.case(γ, causal=attend is causal)
        x, y = watch(model, words, γ)["blocks.0.attn"]
        yield self_attention(θ.blocks[0].attn, x, columns(γ)[0], attend), y
        yield prefixed(θ, columns(γ), words, attend), logits(model, words, γ)
    empty = PrefixTuning(1).attach(model, draw.rng).map(lambda P: parameter(P.data[:0]))
    yield logits(model, words), logits(model, words, empty), EXACT


@equation("PF-3")
def gated_mixture(draw):
    """Attn(Q, [P_k, K], [P_v, V]) = (1 - λ) ⊙ Attn(Q, K, V) + λ ⊙ Attn(Q, P_k, P_v)
    003 §11.2.3.3; He et al. 2022, eq. 7 and 8, where λ lacks its √d"""
    for attend in (attn_op, causal):
        γ = PrefixTuning(draw.size(1, 4))
        model, θ, words, γ = draw.case(γ, causal=attend is causal)
        seen, θ = watch(model, words, γ), θ.blocks[0].attn
        Q, K, V = queries_keys_values(θ, seen["blocks.0.attn"][0])
        heads = list(by_head(θ, Q, K, V, *columns(γ)[0]))
        ours = seen["blocks.0.attn.o"][0]  # what W_o reads: the heads
        yield np.vstack([gated(*head, attend, θ.d) for head in heads]), ours
        yield Differs(np.vstack([gated(*head, attend, d=1) for head in heads]), ours)


@equation("PF-4")
def prefix_is_an_adapter(draw):
    """Attn(W_q x, P_k, P_v) = W_up f(W_down x),  W_down = P_kᵀW_q/√d,  W_up = P_v,  f = softmax
    He et al. 2022, eq. 9"""
    k = draw.size(1, 2)  # fewer than a head's 4 rows and than the words
    model, θ, words, γ = draw.case(PrefixTuning(k, shift_positions=False), least=4)
    θ, seen, plain = θ.blocks[0].attn, watch(model, words, γ), watch(model, words)
    x = seen["blocks.0.attn"][0]
    Q, K, _ = queries_keys_values(θ, x)
    without, ours = plain["blocks.0.attn.o"][0], seen["blocks.0.attn.o"][0]
    heads = by_head(θ, Q, K, without, ours, θ.q.W, θ.q.b, *columns(γ)[0])
    for Q, K, without, ours, W_q, b_q, P_key, P_value in heads:
        λ = gate(Q, K, P_key, causal, θ.d)
        added = ours - (1 - λ) * without
        yield λ * prefix_as_adapter(W_q, b_q, P_key, P_value, x), added
        yield np.zeros(θ.d - k), singular_values(added)[k:]  # its rank is k at most
        yield Differs(np.zeros(θ.d - k), singular_values(without)[k:])


@equation("PF-5")
def prefix_has_no_order(draw):
    """Attn(Q, [P_kΠ, K], [P_vΠ, V]) = Attn(Q, [P_k, K], [P_v, V])
    follows from PF-3"""
    model, θ, words, γ = draw.case(PrefixTuning(draw.size(2, 4)))
    literal = prefixed(θ, columns(γ), words)
    rolled = γ.map(lambda p: parameter(np.roll(p.data, 1, axis=0)))
    yield literal, logits(model, words, rolled)
    for P_key, _ in γ.at.values():  # but a key stays with its value
        P_key.data = np.roll(P_key.data, 1, axis=0)
    yield Differs(literal, logits(model, words, γ))


@equation("PF-6")
def zero_prefix(draw):
    """P_key = P_value = 0:  head · (1 - k/(k + Σ exp(s))), which is not the head
    follows from PF-3; Hugging Face's documents call it a no-op (X24)"""
    model, θ, words, γ = draw.case(PrefixTuning(draw.size(1, 4), shift_positions=False), layers=1)
    nothing = γ.map(lambda p: parameter(0 * p.data))
    seen = watch(model, words, nothing)
    θ, x = θ.blocks[0].attn, seen["blocks.0.attn"][0]
    Q, K, V = queries_keys_values(θ, x)
    heads = by_head(θ, Q, K, V)
    literal = np.vstack([behind_zeros(*head, γ.length) for head in heads])
    yield literal, seen["blocks.0.attn.o"][0]
    yield Differs(logits(model, words), logits(model, words, nothing))
    P_key, _ = γ.at["blocks.0.attn"]
    P_key.data[:] = -1e6 * Q[:, 0]  # the limit in which it is none: P_keyᵀq → -∞
    yield logits(model, words[:1]), logits(model, words[:1], γ)


@equation("PF-7")
def deep_prompt(draw):
    """S_l in k slots before block l  =  P_key = W_k LN(S_l) + b_k,  P_value = W_v LN(S_l) + b_v
    000, whose 'concatenated with the main input of each block' is this, no free K and V (X17)"""
    for attend in (attn_op, causal):
        model, words = draw.model(causal=attend is causal), draw.words()
        θ, k = columns(model), draw.size(1, 4)
        S = [draw.array(len(θ.ln.g), k) for _ in θ.blocks]
        γ, naive = (PrefixTuning(k).attach(model, draw.rng) for _ in range(2))
        for S_l, layer, path in zip(S, θ.blocks, γ.at):
            n = layer_norm(layer.ln1, S_l)
            P = linear(layer.attn.k, n).T, linear(layer.attn.v, n).T
            γ.at[path], naive.at[path] = [parameter(p) for p in P], [parameter(S_l.T)] * 2
        literal = deep_prompted(θ, S, embed(θ, words), attend)
        yield literal, logits(model, words, γ)
        yield Differs(literal, logits(model, words, naive))
