"""A transformer as the papers write it, in plain NumPy: one head and one query at a time.

Activations are columns, X (d, L).  θ has the arrays of a network under the library's names, but
transposed: θ.blocks[0].attn.q.W is W_query and acts on columns.  This file does not import the
library and is not fast.  Its functions accept complex numbers, which makes `gradient` exact.
"""

import math

import numpy as np


def softmax(S):
    """softmax over the keys, axis 0 of S = KᵀQ: each column sums to one"""
    E = np.exp(S)
    return E / E.sum(axis=0)


def attn_op(Q, K, V):
    """V softmax(KᵀQ / √d)        Q (d, L)   K, V (d, L')"""
    return V @ softmax(K.T @ Q / math.sqrt(len(Q)))


def causal_attn(Q, K, V):
    """attn_op with a causal mask: query t sees the keys up to its own, one of the last L"""
    L, before = Q.shape[1], K.shape[1] - Q.shape[1]
    ends = [before + t + 1 for t in range(L)]
    return np.hstack([attn_op(Q[:, [t]], K[:, :end], V[:, :end]) for t, end in enumerate(ends)])


def linear(θ, X):
    """W X + b"""
    return θ.W @ X + θ.b


def queries_keys_values(θ, X):
    """Q = W_query X + b,  K = W_key X + b,  V = W_value X + b"""
    return linear(θ.q, X), linear(θ.k, X), linear(θ.v, X)


def split_heads(θ, *matrices):
    """For each head, its d_h rows of every matrix"""
    return zip(*(np.split(Z, len(Z) // θ.d) for Z in matrices))


def multi_head(θ, Q, K, V, attend=causal_attn):
    """W_o [head_1; …; head_H],  head_i = Attn(Q_i, K_i, V_i)"""
    return linear(θ.o, np.vstack([attend(q, k, v) for q, k, v in split_heads(θ, Q, K, V)]))


def self_attention(θ, X, P=None, attend=causal_attn):
    """Attn(Q, [P_key, K], [P_value, V]);  P = P_key, P_value is a prefix, or None"""
    Q, K, V = queries_keys_values(θ, X)
    P_key, P_value = P or (K[:, :0], V[:, :0])
    return multi_head(θ, Q, np.hstack([P_key, K]), np.hstack([P_value, V]), attend)


def layer_norm(θ, X):
    """g ⊙ (x - mean x) / √(var x + ε) + b for each column x"""
    centred = X - X.mean(axis=0)
    return θ.g * centred / np.sqrt((centred**2).mean(axis=0) + θ.eps) + θ.b


def rms(x, g, ε):
    """g ⊙ x / √(mean x² + ε)"""
    return g * x / math.sqrt(sum(z * z for z in x) / len(x) + ε)


def gelu(X):
    """x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2"""
    return X / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)))


def exact_gelu(X):
    """x Φ(x), for real x only"""
    return X / 2 * np.vectorize(lambda x: 1 + math.erf(x / math.sqrt(2)))(X)


def mlp(θ, X):
    """W_down gelu(W_up x)"""
    return linear(θ.down, gelu(linear(θ.up, X)))


def block(θ, X, P=None, attend=causal_attn):
    """x ← x + attn(ln1(x));  x ← x + mlp(ln2(x))"""
    X = X + self_attention(θ.attn, layer_norm(θ.ln1, X), P, attend)
    return X + mlp(θ.mlp, layer_norm(θ.ln2, X))


def embed(θ, words):
    """e(x): the embeddings of token ids"""
    return θ.tokens.W[:, words]


def add_positions(θ, E, start=0):
    """E plus the embeddings of positions start, start + 1, …, if the network has positions"""
    if not hasattr(θ.positions, "W"):
        return E
    return E + θ.positions.W[:, start : start + E.shape[1]]


def hidden_states(θ, E, start=0, prefix=None, attend=causal_attn):
    """The last hidden states for embeddings E;  prefix[l] = P_key, P_value of layer l"""
    X = add_positions(θ, E, start)
    for l, layer in enumerate(θ.blocks):
        X = block(layer, X, prefix and prefix[l], attend)
    return layer_norm(θ.ln, X)


def lm_head(θ, H):
    """The logits of the next word for each column of H"""
    return (θ.tokens.W.T if θ.config.tied_head else θ.head.W) @ H


def language_model(θ, E, start=0, prefix=None, attend=causal_attn):
    """The logits of the next word for each column of E"""
    return lm_head(θ, hidden_states(θ, E, start, prefix, attend))


def with_prefix(θ, P, words, attend=causal_attn):
    """The language model with a prefix P of k columns in every layer; positions start at k"""
    return language_model(θ, embed(θ, words), P[0][0].shape[1], P, attend)


def bert(θ, E, token_types=0, start=0, prefix=None):
    """The last hidden states of BERT, which has a norm after each sub-layer: Devlin et al. 2019"""
    types = θ.types.W[:, np.broadcast_to(token_types, E.shape[1])]
    X = layer_norm(θ.ln, add_positions(θ, E, start) + types)
    for l, layer in enumerate(θ.blocks):
        P = prefix and prefix[l]
        X = layer_norm(layer.ln1, X + self_attention(layer.attn, X, P, attn_op))
        up = linear(layer.mlp.up, X)
        X = layer_norm(layer.ln2, X + linear(layer.mlp.down, exact_gelu(up)))
    return X


def pooler(θ, H):
    """tanh(W h_CLS + b)"""
    return np.tanh(linear(θ.pooler, H[:, [0]]))


def log_p(logits, words):
    """log p(words[t]) by column t of the logits, for each t"""
    p = softmax(logits)
    return np.array([np.log(p[word, t]) for t, word in enumerate(words)])


def answer_log_ps(θ, x, y, P=None):
    """log π(y_t | x, y_<t) for each t; P: a prefix, or None"""
    z = [*x, *y]
    logits = with_prefix(θ, P, z[:-1]) if P else language_model(θ, embed(θ, z[:-1]))
    return log_p(logits[:, len(x) - 1 :], y)


def gradient(f, x, h=1e-30):
    """∂f/∂x = Im f(x + ih) / h for each coordinate: no subtraction, so no rounding error"""
    g = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        z = x.astype(complex)
        z[i] += 1j * h
        g[i] = f(z).imag / h
    return g
