"""How a prefix is made, placed and served: 003 §11.2.3.4; Li & Liang 2021, §4.3, §7, §8."""

import numpy as np

from ..adaptation.adaptation import parameter
from ..adaptation.cache import Cache
from ..adaptation.each import Each
from ..adaptation.merge import fold
from ..adaptation.method import stack
from ..autograd.nn import replace, size
from ..methods import Encoded, LoRA, PrefixTuning, PromptTuning, PseudoTokens
from .draw import columns, logits, watch, weights
from .entry import EXACT, Differs, equation
from .literal import by_head, causal, embed, language_model, log_p, prefixed, queries_keys_values
from .prefix import gate


def prefix_mlp(E, W_1, b_1, W_2, b_2):
    """P_θ[i, :] = MLP_θ(P'_θ[i, :]),  MLP = Linear → tanh → Linear; row by row"""
    return np.hstack([W_2 @ np.tanh(W_1 @ E[:, [i]] + b_1) + b_2 for i in range(E.shape[1])])


def one_by_one(P, N):
    """past[l, 0 or 1, i, c] = P[i, (2l + 0 or 1)·d + c]: key and value of layer l"""
    k, d = P.shape[0], P.shape[1] // (2 * N)
    past = np.empty((N, 2, k, d))
    for l, which, i, c in np.ndindex(past.shape):
        past[l, which, i, c] = P[i, (2 * l + which) * d + c]
    return past


def permuted(P, N, H):
    """view (k, 2N, H, d_h) → permute to (2N, H, k, d_h) → split(2), as the authors' code has it"""
    return P.reshape(len(P), 2 * N, H, -1).transpose(1, 2, 0, 3).reshape(N, 2, H, len(P), -1)


@equation("PF-8")
def reparametrisation(draw):
    """P_θ[i, :] = MLP(P'_θ[i, :]); after training P_θ alone is kept
    000; Li & Liang 2021, §4.3"""
    method = Encoded(PrefixTuning(draw.size(1, 4)), mlp_width=draw.size(1, 6))
    model, θ, words, γ = draw.case(method)
    k, N, d = method.method.length, len(θ.blocks), len(θ.ln.g)
    P = np.split(prefix_mlp(*columns(γ)[0]), 2 * N)  # key, value, key, value, …
    folded = fold(γ)
    yield prefixed(θ, list(zip(P[::2], P[1::2])), words), logits(model, words, γ)
    yield logits(model, words, γ), logits(model, words, folded), EXACT
    yield 2 * N * k * d, size(folded), EXACT


@equation("PF-9")
def layout(draw):
    """(k, 2·N·d) → view (k, 2N, H, d_h): rows 2l and 2l + 1 are layer l's key and value
    000 left its size out (X16); Li & Liang's train_control.py:238; P-tuning v2's get_prompt"""
    k = draw.size(1, 4)
    model, θ, _, γ = draw.case(Encoded(PrefixTuning(k), mlp_width=3), layers=draw.size(2, 3))
    N, H, d = len(θ.blocks), θ.config.heads, len(θ.ln.g)
    P = prefix_mlp(*columns(γ)[0]).T
    ours = np.array([[p.data for p in P_l] for P_l in γ.now().at.values()])  # (N, 2, k, d)
    yield one_by_one(P, N), ours
    yield permuted(P, N, H), ours.reshape(N, 2, k, H, d // H).swapaxes(2, 3)
    yield Differs(P.reshape(k, 2, N, d).transpose(2, 1, 0, 3), ours)  # all keys, then all values


@equation("PF-10")
def positions_after_a_prefix(draw):
    """word t stands at position k + t (GPT-2), or at t (BART, T5)
    Li & Liang's modeling_gpt2.py:576"""
    for positions in ("learned", "none"):
        γ = PrefixTuning(draw.size(1, 4))
        model, θ, words, γ = draw.case(γ, positions=positions)
        shifted = logits(model, words, γ)
        not_shifted = logits(model, words, replace(γ, shift_positions=False))
        yield prefixed(θ, columns(γ), words), shifted
        yield language_model(θ, embed(θ, words), prefix=columns(γ)), not_shifted
        yield Differs(shifted, not_shifted) if positions == "learned" else (shifted, not_shifted)


@equation("PF-11")
def words_as_a_prefix(draw):
    """P := keys and values of real words  ⇒  the model with those words in its context
    000; Li & Liang 2021, §7.4"""
    model, words, context = draw.model(), draw.words(), draw.words()
    θ, γ = columns(model), PrefixTuning(words=tuple(context)).attach(model, draw.rng)
    whole = language_model(θ, embed(θ, [*context, *words]))
    yield whole[:, len(context) :], logits(model, words, γ)
    yield Differs(whole[:, len(context) :], logits(model, words))


@equation("PF-13")
def many_users(draw):
    """row n of a batch behind prefix n = N models, each with one prefix
    003 §11.2.3.4 (personal models); Li & Liang 2021, §8.2"""
    model, L = draw.model(), draw.size(1, 5)
    θ, texts = columns(model), np.stack([draw.words(L, L) for _ in range(3)])
    users = [draw.attached(PrefixTuning(k), model) for k in (1, 2, 4)]
    alone = [prefixed(θ, columns(γ), x) for x, γ in zip(texts, users)]
    yield alone, columns(model(texts, Each(users)))
    alike = [draw.attached(PrefixTuning(2), model) for _ in range(2)]
    who = draw.rng.integers(0, 2, 3)
    alone = [prefixed(θ, columns(alike[user]), x) for x, user in zip(texts, who)]
    yield alone, columns(model(texts, stack(alike).of(who)))
    # filling the shorter up with zeros is another prefix: PF-6
    short = draw.attached(PrefixTuning(2, shift_positions=False), model)
    filled = short.map(lambda p: parameter(np.vstack([0 * p.data, p.data])))
    yield Differs(logits(model, texts[0], short), logits(model, texts[0], filled))


@equation("PF-14")
def embeddings_alone(draw):
    """prefix of the embeddings alone = soft prompt;  infix: [x; INFIX; y], loss over y
    Li & Liang 2021, §7.2, §7.3; of an encoder and a decoder it is [PREFIX; x; PREFIX'; y] (X19)"""
    model, θ, x, γ = draw.case(PromptTuning(draw.size(1, 4)), least=2)
    ((P,),), y = columns(γ), draw.words(least=2)
    k, L, before, behind = P.shape[1], len(x), embed(θ, x), embed(θ, y)
    yield language_model(θ, np.hstack([P, before]))[:, k:], logits(model, x, γ)
    infix = draw.attached(PseudoTokens(f"{{x}} [P]*{k} {{y}}"), model)
    (P,), ids = columns(infix)[0], np.array([*x, *range(draw.V, draw.V + k), *y])
    literal = language_model(θ, np.hstack([before, P, behind]))
    yield literal, logits(model, ids, infix)
    yield logits(model, x), logits(model, ids, infix)[:, :L]  # nothing of x can change
    only_y = np.where(np.arange(len(ids)) < L + k, -100, ids)
    ours = model.loss(ids[None], only_y[None], infix).data
    yield -log_p(literal[:, L + k - 1 : -1], y).mean(), ours
    yield Differs(literal, language_model(θ, np.hstack([P, before, behind])))


@equation("PF-15")
def cached(draw):
    """cached keys and values, the prefix first  =  the whole text again; word t stands at k + t
    Li & Liang 2021, §4; 000"""
    model, θ, words, γ = draw.case(PrefixTuning(draw.size(1, 4)), least=2)
    cache, cut = Cache(γ), draw.size(1, len(words) - 1)
    pieces = [words[:cut], *words[cut:, None]]  # a few at once, then one at a time
    ours = np.hstack([logits(model, piece, cache=cache) for piece in pieces])
    yield prefixed(θ, columns(γ), words), ours


@equation("PF-16")
def what_a_prefix_cannot_do(draw):
    """A'_j/Σ A' = A_j over the words: they are seen less, not otherwise;  k = 1: λ P_value is added
    follows from PF-3; Petrov, Torr & Bibi 2024; of one layer, which reads the same input"""
    model, words = draw.model(), draw.words(3, 4)
    θ, plain = columns(model).blocks[0].attn, watch(model, words)
    x = plain["blocks.0.attn"][0]
    Q, K, _ = queries_keys_values(θ, x)
    A = np.array([causal(q, k, np.eye(len(words))) for q, k in by_head(θ, Q, K)])
    for k in (draw.size(2, 4), 1):
        γ = draw.attached(PrefixTuning(k, shift_positions=False), model)
        P_key, P_value = columns(γ)[0]
        λ = [gate(q, k, p, causal, θ.d) for q, k, p in by_head(θ, Q, K, P_key)]
        seen = watch(model, words, γ)["blocks.0.attn.o"][0]
        γ.at["blocks.0.attn"][1].data[:] = 0  # leaves how the words are attended to
        ours = weights(model, words, γ)
        yield A, ours / ours.sum(axis=1, keepdims=True)
        yield 1 - np.array(λ), ours.sum(axis=1)
    heads = by_head(θ, P_value, seen, plain["blocks.0.attn.o"][0])
    for (p, with_one, without), gates in zip(heads, λ):
        yield p * gates, with_one - (1 - gates) * without
    lora = draw.attached(LoRA(2, 2.0, targets=r"attn\.q$"), model)
    a, b = columns(lora)[0]
    turned = by_head(θ, Q + b @ a @ x, K)
    yield [causal(q, k, np.eye(len(words))) for q, k in turned], weights(model, words, lora)
    yield Differs(A, weights(model, words, lora))
