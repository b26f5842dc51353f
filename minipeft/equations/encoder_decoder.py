"""Encoder–decoders and their prefixes: Raffel et al. 2020; Lewis et al. 2020; Li & Liang 2021."""

import math

import numpy as np

from ..autograd import nn
from ..methods import Encoded, PrefixTuning
from ..model.encoder_decoder import BartConfig, EncoderDecoder, T5Config
from ..model.positions import bucket as library_bucket
from .draw import columns, logits
from .entry import EXACT, Differs, equation
from .literal import (
    attn_op,
    causal_attn,
    exact_gelu,
    layer_norm,
    linear,
    multi_head,
    rms,
    split_heads,
)

NO_PREFIX: dict = {}
T5 = {"kind": EncoderDecoder, "make": T5Config}
BART = {"kind": EncoderDecoder, "make": BartConfig}


def bucket(distance, n, longest, causal):
    """j if j < m, else m + ⌊log(j/m) / log(longest/m) (n - m)⌋ < n,  j = |distance|,  m = n/2"""
    after = n // 2 if not causal and distance > 0 else 0  # the other half of the buckets
    n = n if causal else n // 2
    j, m = abs(distance) if not causal else max(0, -distance), n // 2
    if j < m:
        return after + j
    growth = math.log(j / m) / math.log(longest / m) * (n - m)
    return after + min(n - 1, m + math.floor(growth + 1e-6))


def t5_attention(θ, X, Y, P, bias, causal):
    """head = V softmax(KᵀQ + b):  Q of X, K and V of Y behind those of the prefix, without 1/√d"""
    Q, K, V = θ.q.W @ X, θ.k.W @ Y, θ.v.W @ Y
    P_key, P_value = P or (K[:, :0], V[:, :0])
    K, V, heads = np.hstack([P_key, K]), np.hstack([P_value, V]), []
    before = K.shape[1] - X.shape[1]
    for h, (q, k, v) in enumerate(split_heads(θ, Q, K, V)):
        y = np.zeros(q.shape)
        for t in range(X.shape[1]):
            keys = range(before + t + 1 if causal else K.shape[1])
            b = [bias(h, s - before - t) for s in keys]
            S = np.exp(k[:, keys].T @ q[:, t] + b)
            y[:, t] = v[:, keys] @ S / S.sum()
        heads.append(y)
    return θ.o.W @ np.vstack(heads)


def t5_stack(θ, X, c, P, path, source=None):
    """x ← x + attn(rms(x));  x ← x + cross(rms(x), source);  x ← x + W₂ relu(W₁ rms(x))"""
    causal = source is not None
    norm = lambda layer, X: np.transpose([rms(x, layer.g[:, 0], layer.eps) for x in X.T])
    bias = lambda h, i: θ.positions.W[h, bucket(i, c.buckets, c.max_distance, causal)]
    for n, layer in enumerate(θ.blocks):
        at, Z = f"{path}.blocks.{n}", norm(layer.ln1, X)
        X = X + t5_attention(layer.attn, Z, Z, P.get(f"{at}.attn"), bias, causal)
        if causal:
            Z, no_bias = norm(layer.ln3, X), lambda h, i: 0
            X = X + t5_attention(layer.cross, Z, source, P.get(f"{at}.cross"), no_bias, False)
        X = X + layer.mlp.down.W @ np.maximum(0, layer.mlp.up.W @ norm(layer.ln2, X))
    return norm(θ.ln, X)


def t5(θ, x, y, P=NO_PREFIX):
    """The logits E decoder(y, encoder(x)) / √D after every token of y"""
    c, E = θ.config, θ.encoder.tokens.W
    source = t5_stack(θ.encoder, E[:, x], c, P, "encoder")
    return E.T @ t5_stack(θ.decoder, E[:, y], c, P, "decoder", source) / math.sqrt(c.width)


def bart_attention(θ, X, Y, P, attend):
    """W_o [head_1; …],  Q of X, K and V of Y behind those of the prefix"""
    Q, K, V = linear(θ.q, X), linear(θ.k, Y), linear(θ.v, Y)
    P_key, P_value = P or (K[:, :0], V[:, :0])
    return multi_head(θ, Q, np.hstack([P_key, K]), np.hstack([P_value, V]), attend)


def bart_stack(θ, words, P, path, start, source=None):
    """x ← ln(x + attn(x));  x ← ln(x + cross(x, source));  x ← ln(x + W₂ gelu(W₁ x))"""
    first = 2 + start  # BART's table begins two rows later
    X = θ.tokens.W[:, words] + θ.positions.W[:, first : first + len(words)]
    X = layer_norm(θ.ln, X)
    for n, layer in enumerate(θ.blocks):
        at, attend = f"{path}.blocks.{n}", attn_op if source is None else causal_attn
        own = bart_attention(layer.attn, X, X, P.get(f"{at}.attn"), attend)
        X = layer_norm(layer.ln1, X + own)
        if source is not None:
            other = bart_attention(layer.cross, X, source, P.get(f"{at}.cross"), attn_op)
            X = layer_norm(layer.ln3, X + other)
        down = linear(layer.mlp.down, exact_gelu(linear(layer.mlp.up, X)))
        X = layer_norm(layer.ln2, X + down)
    return X


def bart(θ, x, y, P=NO_PREFIX, start=0):
    """The logits E decoder(y, encoder(x)) after every token of y"""
    source = bart_stack(θ.encoder, x, P, "encoder", start)
    return θ.encoder.tokens.W.T @ bart_stack(θ.decoder, y, P, "decoder", start, source)


def by_path(γ):
    """{path: [P_key, P_value]} of a prefix, as columns"""
    γ = γ.resolve()
    return {path: [columns(p) for p in ps.values()] for path, ps in γ.at.items()}


def draw_t5(draw):
    """Return a small T5, and a text for each of its stacks."""
    more = {"decoder_layers": draw.size(1, 2), "buckets": 2 * draw.size(2, 4), "max_distance": 9}
    model = draw.model(**T5, layers=draw.size(1, 2), **more)
    return model, draw.words(), draw.words()


def draw_bart(draw):
    """Return a small BART, and a text for each of its stacks."""
    more = {"decoder_layers": draw.size(1, 2), "layers": draw.size(1, 2)}
    model = draw.model(**BART, **more)
    return model, draw.words(), draw.words()


@equation("ED-1")
def relative_positions(draw):
    """b = W[bucket(key - query)]: half of the buckets exact, half logarithmic up to a distance
    Raffel et al. 2020, §2.1, code"""
    n, longest = 4 * draw.size(1, 8), draw.size(20, 200)
    distance = np.arange(-2 * longest, 2 * longest)
    for causal in (True, False):
        literal = [bucket(int(i), n, longest, causal) for i in distance]
        yield literal, library_bucket(distance, n, longest, causal), EXACT


@equation("ED-2")
def t5_model(draw):
    """logits = E decoder(y, encoder(x)) / √D, attention softmax(KᵀQ + b), without 1/√d
    Raffel et al. 2020, §2.1 and §2.4"""
    model, x, y = draw_t5(draw)
    library = logits(model, x, decoder_ids=y[None])
    yield t5(columns(model), x, y), library
    yield Differs(t5(columns(model), x, y) * math.sqrt(model.config.width), library)


@equation("ED-3")
def bart_model(draw):
    """logits = E decoder(y, encoder(x)), norms after the residual connections
    Lewis et al. 2020, §2.1"""
    model, x, y = draw_bart(draw)
    yield bart(columns(model), x, y), logits(model, x, decoder_ids=y[None])


@equation("PF-12")
def encoder_decoder_prefix(draw):
    """z = [PREFIX; x; PREFIX'; y], three prefixes: encoder, decoder, cross-attention
    Li & Liang 2021, §4 and §4.3; Why prompts work (corrected, X19)"""
    k = draw.size(1, 3)
    for draw_model, literal in ((draw_t5, t5), (draw_bart, bart)):
        model, x, y = draw_model(draw)
        γ = draw.adaptation(PrefixTuning(k, init="normal", shift_positions=False), model)
        P, library = by_path(γ), logits(model, x, γ, decoder_ids=y[None])
        yield literal(columns(model), x, y, P), library
        for place in ("encoder", "attn", "cross"):  # each of the three matters
            others = {path: p for path, p in P.items() if place not in path}
            yield Differs(literal(columns(model), x, y, others), library)
        c = model.config
        d, N, M = c.width, c.layers, c.decoder_layers
        yield 2 * k * d * (N + 2 * M), nn.size(γ), EXACT  # 3 N 2 k d if both stacks have N layers
    shifted = draw.adaptation(PrefixTuning(k, init="normal"), model)
    library = logits(model, x, shifted, decoder_ids=y[None])
    yield bart(columns(model), x, y, by_path(shifted), start=k), library
    encoded = draw.adaptation(Encoded(PrefixTuning(k), mlp_width=2), model)
    library = logits(model, x, encoded, decoder_ids=y[None])
    yield bart(columns(model), x, y, by_path(encoded), start=k), library
    yield 14_745_600, 3 * 12 * 2 * 200 * 1024, EXACT  # BART-large, k = 200
