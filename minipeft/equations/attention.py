"""Attention: Vaswani et al. 2017."""

import math

import numpy as np

from ..adaptation.chain import Chain
from ..autograd.functional import attention
from ..autograd.tensor import grad
from ..methods import FullFineTuning, PrefixTuning
from .draw import as_one_head, columns, head_columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import (
    attn_op,
    causal_attn,
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
    Adaptation chapter, §11.2.3.3 (corrected, X5); Vaswani et al. 2017, eq. 1"""
    d, L, keys = draw.size(1, 6), draw.size(1, 5), draw.size(1, 7)
    Q, K, V = draw.array(d, L), draw.array(d, keys), draw.array(d, keys)
    q, k, v, one_hot = as_one_head(Q, K, V, np.eye(keys))
    yield attn_op(Q, K, V), head_columns(attention(q, k, v, scale=d**-0.5))
    A = head_columns(attention(q, k, one_hot, scale=d**-0.5))
    yield softmax(K.T @ Q / math.sqrt(d)), A
    yield np.ones(L), A.sum(axis=0)  # over keys


@equation("AT-2")
def multi_head_attention(draw):
    """W_o [head_1; …; head_H],  head_i = Attn-op(W_q⁽ⁱ⁾x, W_k⁽ⁱ⁾x, W_v⁽ⁱ⁾x)
    Adaptation chapter, §11.2.3.3; Vaswani et al. 2017, §3.2.2"""
    for attend in (attn_op, causal_attn):
        model, words = draw.model(causal=attend is causal_attn), draw.words()
        θ = columns(model).blocks[0].attn
        x, y = watch(model, words)["blocks.0.attn"]
        yield self_attention(θ, x, attend=attend), y
    Q, K, V = queries_keys_values(θ, x)
    if len(Q) > θ.d and len(words) > 1:  # d is the width of a head, not of the model
        yield Differs(multi_head(θ, Q * math.sqrt(θ.d / len(Q)), K, V), y)


@equation("AT-3")
def key_bias(draw):
    """Attn-op(Q, K + b1ᵀ, V) = Attn-op(Q, K, V), but not with a prefix whose keys lack b
    derived from AT-1; the key bias of Ben Zaken et al. 2022 has this gradient of 0"""
    model, θ, words, prefix = draw.case(PrefixTuning(draw.size(1, 4)), shortest=2)
    keys = FullFineTuning(targets=r"attn\.k$").attach(model)
    biases = [p["b"] for p in keys.at.values()]
    both = Chain(keys, prefix)
    zeros = [np.zeros(b.shape) for b in biases]
    yield zeros, grad(model.loss(words[None], words[None], keys), biases)
    yield Differs(zeros, grad(model.loss(words[None], words[None], both), biases))
    for b in biases:
        b.data += draw.array(*b.shape)
    yield language_model(θ, embed(θ, words)), logits(model, words, keys)
    yield Differs(logits(model, words, prefix), logits(model, words, both))


@equation("AT-4")
def causal_mask(draw):
    """query t sees the keys ≤ t, and all keys of a prefix
    Vaswani et al. 2017, §3.2.3; Li & Liang 2021, §4"""
    model, θ, words, prefix = draw.case(PrefixTuning(draw.size(1, 4)), shortest=2)
    t = draw.size(1, len(words) - 1)
    changed = words.copy()
    changed[t] = (words[t] + 1) % draw.V
    yield language_model(θ, embed(θ, words)), logits(model, words)
    for γ in (None, prefix):
        before, after = logits(model, words, γ), logits(model, changed, γ)
        yield before[:, :t], after[:, :t], EXACT
        yield Differs(before[:, t], after[:, t])
    for P in prefix.parameters():  # the first word sees the last key and value of the prefix
        P.data[-1] += draw.array(P.shape[1])
    yield Differs(before[:, 0], logits(model, words, prefix)[:, 0])
    q, k, v = as_one_head(*draw.array(3, 4, 5))
    all_masked, V = attention(q, k, v, masked=np.ones((5, 5), bool)), head_columns(v)
    yield np.tile(V.mean(axis=1, keepdims=True), 5), head_columns(all_masked)  # finite


@equation("AT-5")
def attention_gradient(draw):
    """A = softmax(S):  dS = A ⊙ (dA - 1(1ᵀ(A ⊙ dA)))
    derived from AT-1"""
    d, L, keys = draw.size(1, 4), draw.size(1, 3), draw.size(1, 4)
    Q, K, V, G = (draw.array(d, n) for n in (L, keys, keys, L))
    q, k, v = as_one_head(Q, K, V)
    bias, g = as_one_head(np.zeros((keys, L)), G)  # the gradient of a bias of S is that of S
    y = attention(q, k, v, bias, scale=d**-0.5)
    dq, dk, dv, dS = (dx[0, 0, 0].T for dx in grad(y, [q, k, v, bias], [g.data]))
    yield softmax_gradient(softmax(K.T @ Q / math.sqrt(d)), V.T @ G), dS
    yield np.zeros(L), dS.sum(axis=0), 1e-14
    yield gradient(lambda Q: (G * attn_op(Q, K, V)).sum(), Q), dq
    yield gradient(lambda K: (G * attn_op(Q, K, V)).sum(), K), dk
    yield gradient(lambda V: (G * attn_op(Q, K, V)).sum(), V), dv
