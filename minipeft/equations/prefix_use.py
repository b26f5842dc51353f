"""How a prefix is trained, stored and used: Li & Liang 2021, §4.3, §7, §8."""

import dataclasses

import numpy as np

from ..adaptation.adaptation import parameter
from ..adaptation.cache import Cache
from ..adaptation.each import Each
from ..adaptation.merge import fold
from ..adaptation.method import PSEUDO, stack
from ..autograd.nn import replace, size
from ..methods import Encoded, LoRA, PrefixTuning, PromptTuning, PseudoTokens
from .draw import attention_weights, columns, logits, watch
from .entry import EXACT, Differs, equation
from .literal import (
    attn_op,
    causal_attn,
    embed,
    language_model,
    linear,
    log_p,
    queries_keys_values,
    split_heads,
    with_prefix,
)
from .prefix import gate


def prefix_mlp(E, W_1, b_1, W_2, b_2):
    """P_θ[i, :] = MLP_θ(P'_θ[i, :]),  MLP = Linear → tanh → Linear, for each i"""
    return np.hstack([W_2 @ np.tanh(W_1 @ E[:, [i]] + b_1) + b_2 for i in range(E.shape[1])])


def past_by_index(P, N):
    """past[l, j, i, c] = P[i, (2l + j)·d + c], of layer l: keys for j = 0, values for j = 1"""
    k, d = P.shape[0], P.shape[1] // (2 * N)
    past = np.empty((N, 2, k, d))
    for l, j, i, c in np.ndindex(past.shape):
        past[l, j, i, c] = P[i, (2 * l + j) * d + c]
    return past


def past_by_permutation(P, N, H):
    """view (k, 2N, H, d_h) → permute to (2N, H, k, d_h) → split(2), as in the authors' code"""
    return P.reshape(len(P), 2 * N, H, -1).transpose(1, 2, 0, 3).reshape(N, 2, H, len(P), -1)


@equation("PF-8")
def reparametrisation(draw):
    """P_θ[i, :] = MLP(P'_θ[i, :]); after training only P_θ is kept
    Li & Liang 2021, §4.3; Prompting notes, §1.1.1"""
    method = Encoded(PrefixTuning(draw.size(1, 4)), mlp_width=draw.size(1, 6))
    model, θ, words, γ = draw.case(method)
    k, N, d = method.method.length, len(θ.blocks), len(θ.ln.g)
    P = np.split(prefix_mlp(*columns(γ)[0]), 2 * N)  # key, value, key, value, …
    folded = fold(γ)
    yield with_prefix(θ, list(zip(P[::2], P[1::2])), words), logits(model, words, γ)
    yield logits(model, words, γ), logits(model, words, folded), EXACT
    yield 2 * N * k * d, size(folded), EXACT


@equation("PF-9")
def layout(draw):
    """(k, 2·N·d) → view (k, 2N, H, d_h): entries 2l and 2l + 1 are layer l's key and value
    Li & Liang 2021, code, train_control.py:238; Prompting notes, §1.1.1 (corrected, X16)"""
    k = draw.size(1, 4)
    model, θ, _, γ = draw.case(Encoded(PrefixTuning(k), mlp_width=3), layers=draw.size(2, 3))
    N, H, d = len(θ.blocks), θ.config.heads, len(θ.ln.g)
    P = prefix_mlp(*columns(γ)[0]).T
    at = γ.resolve().at.values()
    library = np.array([[p["P_key"].data, p["P_value"].data] for p in at])  # (N, 2, k, d)
    yield past_by_index(P, N), library
    yield past_by_permutation(P, N, H), library.reshape(N, 2, k, H, d // H).swapaxes(2, 3)
    yield Differs(P.reshape(k, 2, N, d).transpose(2, 1, 0, 3), library)  # keys, then values


@equation("PF-10")
def positions_after_a_prefix(draw):
    """word t is at position k + t (GPT-2), or at t (BART, T5)
    Li & Liang 2021, code, modeling_gpt2.py:576"""
    for positions in ("learned", "none"):
        method = PrefixTuning(draw.size(1, 4))
        model, θ, words, γ = draw.case(method, positions=positions)
        from_0 = replace(γ, method=dataclasses.replace(method, shift_positions=False))
        shifted, not_shifted = logits(model, words, γ), logits(model, words, from_0)
        yield with_prefix(θ, columns(γ), words), shifted
        yield language_model(θ, embed(θ, words), prefix=columns(γ)), not_shifted
        yield Differs(shifted, not_shifted) if positions == "learned" else (shifted, not_shifted)


@equation("PF-11")
def start_from_words(draw):
    """P = keys and values of real words: the model with these words in its context
    Li & Liang 2021, §7.4; Prompting notes, §1.1.1"""
    model, words, context = draw.model(), draw.words(), draw.words()
    θ, γ = columns(model), PrefixTuning(words=tuple(context)).attach(model, draw.rng)
    literal = language_model(θ, embed(θ, [*context, *words]))[:, len(context) :]
    yield literal, logits(model, words, γ)
    yield Differs(literal, logits(model, words))


@equation("PF-13")
def many_users(draw):
    """one batch whose row n has prefix n equals N models with one prefix each
    Adaptation chapter, §11.2.3.4; Li & Liang 2021, §8.2"""
    model, L = draw.model(), draw.size(1, 5)
    θ, texts = columns(model), np.stack([draw.words(L, L) for _ in range(3)])
    users = [draw.adaptation(PrefixTuning(k), model) for k in (1, 2, 4)]
    literal = [with_prefix(θ, columns(γ), x) for x, γ in zip(texts, users)]
    yield literal, columns(model(texts, Each(users)))
    users = [draw.adaptation(PrefixTuning(2), model) for _ in range(2)]
    rows = draw.rng.integers(0, 2, 3)
    literal = [with_prefix(θ, columns(users[user]), x) for x, user in zip(texts, rows)]
    yield literal, columns(model(texts, stack(users).of(rows)))
    # a prefix that is padded with zeros to a common length is another prefix: PF-6
    short = draw.adaptation(PrefixTuning(2, shift_positions=False), model)
    padded = short.map(lambda p: parameter(np.vstack([0 * p.data, p.data])))
    yield Differs(logits(model, texts[0], short), logits(model, texts[0], padded))


@equation("PF-14")
def embedding_only_and_infix(draw):
    """a prefix of embeddings alone is a soft prompt;  infix: [x; INFIX; y], with the loss of y
    Li & Liang 2021, §7.2, §7.3"""
    model, θ, x, γ = draw.case(PromptTuning(draw.size(1, 4)), shortest=2)
    ((P,),), y = columns(γ), draw.words(shortest=2)
    k, L, E_x, E_y = P.shape[1], len(x), embed(θ, x), embed(θ, y)
    yield language_model(θ, np.hstack([P, E_x]))[:, k:], logits(model, x, γ)
    infix = draw.adaptation(PseudoTokens(f"{{x}} [P]*{k} {{y}}"), model)
    (P,), ids = columns(infix)[0], np.array([*x, *PSEUDO - np.arange(k), *y])
    literal = language_model(θ, np.hstack([E_x, P, E_y]))
    yield literal, logits(model, ids, infix)
    yield logits(model, x), logits(model, ids, infix)[:, :L]  # an infix does not affect x
    y_labels = np.where(np.arange(len(ids)) < L + k, -100, ids)
    loss = model.loss(ids[None], y_labels[None], infix).data
    yield -log_p(literal[:, L + k - 1 : -1], y).mean(), loss
    yield Differs(literal, language_model(θ, np.hstack([P, E_x, E_y])))


@equation("PF-15")
def cached(draw):
    """keys and values from a cache that begins with the prefix equal those of the full text
    Li & Liang 2021, §4"""
    model, θ, words, γ = draw.case(PrefixTuning(draw.size(1, 4)), shortest=2)
    cache, cut = Cache(γ), draw.size(1, len(words) - 1)
    pieces = [words[:cut], *words[cut:, None]]  # some at once, then one at a time
    library = np.hstack([logits(model, piece, cache=cache) for piece in pieces])
    yield with_prefix(θ, columns(γ), words), library


@equation("PF-16")
def limits_of_a_prefix(draw):
    """A'_j/Σ A' = A_j over the words, in one layer;  k = 1: the prefix adds λ P_value
    derived from PF-3; Petrov et al. 2024"""
    model, words = draw.model(), draw.words(3, 4)
    θ, plain = columns(model).blocks[0].attn, watch(model, words)
    x, plain = plain["blocks.0.attn"][0], plain["blocks.0.attn.o"][0]
    Q, K, _ = queries_keys_values(θ, x)
    attention = lambda q, k: causal_attn(q, k, np.eye(len(words)))
    A = np.array([attention(q, k) for q, k in split_heads(θ, Q, K)])
    for k in (draw.size(2, 4), 1):
        γ = draw.adaptation(PrefixTuning(k, shift_positions=False), model)
        P_key, P_value = columns(γ)[0]
        λ = [gate(q, k, p, causal_attn, θ.d) for q, k, p in split_heads(θ, Q, K, P_key)]
        adapted = watch(model, words, γ)["blocks.0.attn.o"][0]
        γ.at["blocks.0.attn"]["P_value"].data[:] = 0  # heads are the attention to words alone
        library = attention_weights(model, words, γ)
        yield A, library / library.sum(axis=1, keepdims=True)
        yield 1 - np.array(λ), library.sum(axis=1)
    heads = split_heads(θ, P_value, adapted, plain)
    for (p, adapted, plain), λ_i in zip(heads, λ):
        yield p * λ_i, adapted - (1 - λ_i) * plain
    lora = draw.adaptation(LoRA(2, 2.0, targets=r"attn\.q$"), model)  # s = α/r = 1
    a, b = columns(lora)[0]
    heads = split_heads(θ, Q + b @ a @ x, K)
    yield [attention(q, k) for q, k in heads], attention_weights(model, words, lora)
    yield Differs(A, attention_weights(model, words, lora))


@equation("PF-17")
def gated_prefix(draw):
    """head = Attn(Q, K, V) + g Attn(Q, P_key, P_value),  g = 0 before training
    Zhang et al. 2023, §3.2 (LLaMA-Adapter)"""
    model, θ, words, γ = draw.case(PrefixTuning(draw.size(1, 4), gate=True))
    x, y = watch(model, words, γ)["blocks.0.attn"]
    θ, (P_key, P_value, g) = θ.blocks[0].attn, columns(γ)[0]
    heads = split_heads(θ, *queries_keys_values(θ, x), P_key, P_value)
    literal = [
        causal_attn(Q, K, V) + g_i * attn_op(Q, P_key, P_value)
        for (Q, K, V, P_key, P_value), g_i in zip(heads, g)
    ]
    yield linear(θ.o, np.vstack(literal)), y
    yield Differs(logits(model, words), logits(model, words, γ))
    start = PrefixTuning(2, gate=True).attach(model, draw.rng)
    yield logits(model, words), logits(model, words, start), EXACT
