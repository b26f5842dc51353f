"""A transformer as a reader of the papers would write it: bare NumPy, a head and a query at a time.

Activations are columns, X (d, L).  θ holds the arrays of a network under the library's names, but
acting on columns: θ.blocks[0].attn.q.W is W_query.  Nothing here knows the library, nothing here is
fast, and all of it takes complex numbers too, which makes `gradient` exact.
"""

import math

import numpy as np


def softmax(S):
    """Over the keys, axis 0 of S = KᵀQ: each column sums to one"""
    E = np.exp(S)
    return E / E.sum(axis=0)


def attn_op(Q, K, V):
    """V softmax(KᵀQ / √d)        Q (d, L)   K, V (d, L')"""
    return V @ softmax(K.T @ Q / math.sqrt(len(Q)))


def causal(Q, K, V):
    """The same, where no query sees a younger key; the queries are those of the last L keys"""
    L, before = Q.shape[1], K.shape[1] - Q.shape[1]
    ends = [before + t + 1 for t in range(L)]
    return np.hstack([attn_op(Q[:, [t]], K[:, :end], V[:, :end]) for t, end in enumerate(ends)])


def linear(θ, X):
    return θ.W @ X + θ.b


def queries_keys_values(θ, X):
    return linear(θ.q, X), linear(θ.k, X), linear(θ.v, X)


def by_head(θ, *matrices):
    """For each head its d_h rows of every matrix"""
    return zip(*(np.split(Z, len(Z) // θ.d) for Z in matrices))


def multi_head(θ, Q, K, V, attend=causal):
    """W_o [head_1; …; head_H],  head_i = Attn(Q_i, K_i, V_i)"""
    return linear(θ.o, np.vstack([attend(q, k, v) for q, k, v in by_head(θ, Q, K, V)]))


def self_attention(θ, X, P=None, attend=causal):
    """K_prefix = [P_key, K],  V_prefix = [P_value, V]"""
    Q, K, V = queries_keys_values(θ, X)
    P_key, P_value = P or (K[:, :0], V[:, :0])
    return multi_head(θ, Q, np.hstack([P_key, K]), np.hstack([P_value, V]), attend)


def layer_norm(θ, X):
    """g ⊙ (x - mean x) / √(var x + ε) + b, each column by itself"""
    centred = X - X.mean(axis=0)
    return θ.g * centred / np.sqrt((centred**2).mean(axis=0) + θ.eps) + θ.b


def gelu(X):
    return X / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3)))


def mlp(θ, X):
    return linear(θ.down, gelu(linear(θ.up, X)))


def block(θ, X, P=None, attend=causal):
    X = X + self_attention(θ.attn, layer_norm(θ.ln1, X), P, attend)
    return X + mlp(θ.mlp, layer_norm(θ.ln2, X))


def embed(θ, words):
    return θ.tokens.W[:, words]


def place(θ, E, start=0):
    """The embeddings E at positions start, start + 1, …; a network may have no positions"""
    at = range(start, start + E.shape[1])
    return E + θ.positions.W[:, at] if hasattr(θ.positions, "W") else E


def states(θ, E, start=0, prefix=None, attend=causal):
    """Last hidden states of the embeddings E; prefix[l] = P_key, P_value of layer l"""
    X = place(θ, E, start)
    for l, layer in enumerate(θ.blocks):
        X = block(layer, X, prefix and prefix[l], attend)
    return layer_norm(θ.ln, X)


def to_words(θ, H):
    return (θ.tokens.W.T if θ.config.tied_head else θ.head.W) @ H


def language_model(θ, E, start=0, prefix=None, attend=causal):
    """Logits of the next word, a column for each column of E"""
    return to_words(θ, states(θ, E, start, prefix, attend))


def prefixed(θ, P, words, attend=causal):
    """The same with P_key, P_value in front of every layer, and the words' positions after them"""
    return language_model(θ, embed(θ, words), P[0][0].shape[1], P, attend)


def exact_gelu(X):
    """x Φ(x), of real x only"""
    return X / 2 * np.vectorize(lambda x: 1 + math.erf(x / math.sqrt(2)))(X)


def read_both_ways(θ, E, token_types=0, start=0, prefix=None):
    """States of BERT: norms after each part, Devlin et al. 2019; types[t] = 0 or 1"""
    X = layer_norm(
        θ.ln, place(θ, E, start) + θ.types.W[:, np.broadcast_to(token_types, E.shape[1])]
    )
    for l, layer in enumerate(θ.blocks):
        P = prefix and prefix[l]
        X = layer_norm(layer.ln1, X + self_attention(layer.attn, X, P, attn_op))
        up = linear(layer.mlp.up, X)
        X = layer_norm(layer.ln2, X + linear(layer.mlp.down, exact_gelu(up)))
    return X


def pooled(θ, H):
    """tanh(W h_CLS + b)"""
    return np.tanh(linear(θ.pooler, H[:, [0]]))


def log_p(logits, words):
    """log p(words[t]) under column t of the logits, for each t"""
    p = softmax(logits)
    return np.array([np.log(p[word, t]) for t, word in enumerate(words)])


def gradient(f, x, h=1e-30):
    """∂f/∂x = Im f(x + ih) / h, one coordinate at a time: no difference, so none is rounded"""
    g = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        z = x.astype(complex)
        z[i] += 1j * h
        g[i] = f(z).imag / h
    return g
