"""Attention: 003 §11.2.3.3; Vaswani et al. 2017."""

import math

import numpy as np

from ..adaptation.chain import Chain
from ..autograd.functional import attention
from ..autograd.tensor import grad
from ..methods import FullFineTuning, PrefixTuning
from .draw import columns, head_columns, logits, one_head, watch
from .entry import EXACT, Differs, equation
from .literal import (
    attn_op,
    causal,
    embed,
    gradient,
    language_model,
    multi_head,
    queries_keys_values,
    self_attention,
    softmax,
)


def softmax_gradient(A, dA):
    """dS = A ⊙ (dA - 1 (1ᵀ (A ⊙ dA)))"""
    return A * (dA - np.ones((len(A), 1)) * (A * dA).sum(axis=0))


@equation("AT-1")
def attention_operation(draw):
    """Attn-op(Q, K, V) = V softmax(KᵀQ/√d)
    003 §11.2.3.3 (X5); Vaswani et al. 2017, eq. 1"""
    d, L, keys = draw.size(1, 6), draw.size(1, 5), draw.size(1, 7)
    Q, K, V = draw.array(d, L), draw.array(d, keys), draw.array(d, keys)
    q, k, v, one_hot = one_head(Q, K, V, np.eye(keys))
    yield attn_op(Q, K, V), head_columns(attention(q, k, v, scale=d**-0.5))
    A = head_columns(attention(q, k, one_hot, scale=d**-0.5))
    yield softmax(K.T @ Q / math.sqrt(d)), A
    yield np.ones(L), A.sum(axis=0)  # over keys


@equation("AT-2")
def several_heads(draw):
    """W_o [head_1; …; head_H],  head_i = Attn-op(W_q⁽ⁱ⁾x, W_k⁽ⁱ⁾x, W_v⁽ⁱ⁾x)
    003 §11.2.3.3; Vaswani et al. 2017, §3.2.2"""
    for attend in (attn_op, causal):
        model, words = draw.model(causal=attend is causal), draw.words()
        θ = columns(model).blocks[0].attn
        x, y = watch(model, words)["blocks.0.attn"]
        yield self_attention(θ, x, attend=attend), y
    Q, K, V = queries_keys_values(θ, x)
    if len(Q) > θ.d and len(words) > 1:  # √d is of a head's width, not of the model's
        yield Differs(multi_head(θ, Q * math.sqrt(θ.d / len(Q)), K, V), y)


@equation("AT-3")
def one_vector_on_every_key(draw):
    """Attn-op(Q, K + b1ᵀ, V) = Attn-op(Q, K, V), but not under a prefix whose keys lack b
    follows from AT-1; Ben Zaken et al. 2022 (BitFit) train this b, the key bias, in vain"""
    model, θ, words, prefix = draw.case(PrefixTuning(draw.size(1, 4)), least=2)
    keys = FullFineTuning(targets=r"attn\.k$").attach(model)
    biases = [b for _, b in keys.at.values()]
    both = Chain(keys, prefix)
    in_vain = [np.zeros(b.shape) for b in biases]
    yield in_vain, grad(model.loss(words[None], words[None], keys), biases)
    yield Differs(in_vain, grad(model.loss(words[None], words[None], both), biases))
    for b in biases:
        b.data += draw.array(*b.shape)
    yield language_model(θ, embed(θ, words)), logits(model, words, keys)
    yield Differs(logits(model, words, prefix), logits(model, words, both))


@equation("AT-4")
def causal_mask(draw):
    """query t sees the keys ≤ t, and all keys of a prefix
    003 §11.2.3.3; Vaswani et al. 2017, §3.2.3; Li & Liang 2021, §4"""
    model, θ, words, prefix = draw.case(PrefixTuning(draw.size(1, 4)), least=2)
    t = draw.size(1, len(words) - 1)
    other = words.copy()
    other[t] = (words[t] + 1) % draw.V
    yield language_model(θ, embed(θ, words)), logits(model, words)
    for γ in (None, prefix):
        ours, changed = logits(model, words, γ), logits(model, other, γ)
        yield ours[:, :t], changed[:, :t], EXACT
        yield Differs(ours[:, t], changed[:, t])
    for P in prefix.parameters():  # the last key and value of the prefix, seen by the first word
        P.data[-1] += draw.array(P.shape[1])
    yield Differs(ours[:, 0], logits(model, words, prefix)[:, 0])
    q, k, v = one_head(*draw.array(3, 4, 5))
    blind, V = attention(q, k, v, masked=np.ones((5, 5), bool)), head_columns(v)
    yield np.tile(V.mean(axis=1, keepdims=True), 5), head_columns(blind)  # finite


@equation("AT-5")
def attention_gradient(draw):
    """A = softmax(S):  dS = A ⊙ (dA - 1(1ᵀ(A ⊙ dA)))
    follows from AT-1"""
    d, L, keys = draw.size(1, 4), draw.size(1, 3), draw.size(1, 4)
    Q, K, V, G = (draw.array(d, n) for n in (L, keys, keys, L))
    q, k, v = one_head(Q, K, V)
    # what is added to the scores, here nothing, has their gradient
    S, g = one_head(np.zeros((keys, L)), G)
    y = attention(q, k, v, S, scale=d**-0.5)
    dq, dk, dv, dS = (dx[0, 0, 0].T for dx in grad(y, [q, k, v, S], [g.data]))
    yield softmax_gradient(softmax(K.T @ Q / math.sqrt(d)), V.T @ G), dS
    yield np.zeros(L), dS.sum(axis=0), 1e-14
    yield gradient(lambda Q: (G * attn_op(Q, K, V)).sum(), Q), dq
    yield gradient(lambda K: (G * attn_op(Q, K, V)).sum(), K), dk
    yield gradient(lambda V: (G * attn_op(Q, K, V)).sum(), V), dv
