"""P-tuning: 001; Liu et al. 2021, "GPT Understands, Too".

001 reads as if the language model were always frozen.  So it is on LAMA; on SuperGLUE, few-shot or
full, the authors tune it jointly, at a rate of its own (X22): PT-5.
"""

from types import SimpleNamespace

import numpy as np

from ..adaptation.chain import Chain
from ..adaptation.merge import fold
from ..autograd.nn import size
from ..autograd.tensor import grad
from ..methods import FullFineTuning, PseudoTokens, PTuning
from ..methods.template import Template
from ..model.bert import BertConfig, MaskedLM
from .draw import columns, logits
from .entry import EXACT, Differs, equation
from .literal import (
    embed,
    exact_gelu,
    gradient,
    language_model,
    layer_norm,
    linear,
    log_p,
    read_both_ways,
    to_words,
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(W, U, b, X):
    """c ← f c + i g,  h ← o tanh c: h after the last column of X, a step and a unit at a time"""
    n = len(U) // 4
    h, c = np.zeros(n), np.zeros(n)
    for x in X.T:
        before = h.copy()
        for unit in range(n):
            i, f, g, o = (W[r] @ x + U[r] @ before + b[r, 0] for r in range(unit, 4 * n, n))
            c[unit] = sigmoid(f) * c[unit] + sigmoid(i) * np.tanh(g)
            h[unit] = sigmoid(o) * np.tanh(c[unit])
    return h


def both_ways(forth, back, X):
    """[→h_i ; ←h_i] = [LSTM(x_0, …, x_i) : LSTM(x_m, …, x_i)]"""
    to = [lstm(*forth, X[:, : i + 1]) for i in range(X.shape[1])]
    fro = [lstm(*back, X[:, i:][:, ::-1]) for i in range(X.shape[1])]
    return np.hstack([to, fro]).T


def encoded(E, *θ):
    """h_i = W_2 relu(W_1 [→h_i ; ←h_i] + b_1) + b_2; the LSTMs' six arrays come layer by layer"""
    *lstms, W_1, b_1, W_2, b_2 = θ
    X = E
    for l in range(0, len(lstms), 6):
        X = both_ways(lstms[l : l + 3], lstms[l + 3 : l + 6], X)
    return W_2 @ np.maximum(W_1 @ X + b_1, 0) + b_2


def around(θ, P, i, x, y):
    """{h_0, …, h_i-1, e(x), h_i, …, h_m, e(y)}"""
    return np.hstack([P[:, :i], embed(θ, x), P[:, i:], embed(θ, y)])


def loss(θ, P, i, x, y):
    """-log p(y) behind all the rest, the mean over its words"""
    return -log_p(language_model(θ, around(θ, P, i, x, y))[:, -len(y) - 1 : -1], y).mean()


def joint_loss(θ, W, P, x, y):
    """The same of {h_0, …, h_m, e(x), e(y)}, by the embeddings W too"""
    logits = language_model(θ, np.hstack([P, W[:, x], W[:, y]]))
    return -log_p(logits[:, -len(y) - 1 : -1], y).mean()


def masked_words(θ, E):
    """Logits of the word at every column"""
    H = exact_gelu(linear(θ.transform.dense, read_both_ways(θ, E)))
    return to_words(θ, layer_norm(θ.transform.ln, H)) + θ.head.b


@equation("PT-1")
def template(draw):
    """{[P_0:i], x, [P_i+1:m], y} ↦ {h_0, …, h_i, e(x), h_i+1, …, h_m, e(y)};  ĥ = argmin_h ℓ
    001; Liu et al. 2021, §3, eq. 1 to 3"""
    model, m = draw.model(layers=1, width=4, heads=1), draw.size(1, 4)
    θ, x, y = columns(model), draw.words(), draw.words()
    for i in range(m + 1):  # wherever x stands
        template = f"[P]*{i} {{x}} [P]*{m - i} {{y}}"
        γ = draw.attached(PseudoTokens(template), model)
        ((P,),), ids = columns(γ), Template(template).fill(None, draw.V, x=[*x], y=[*y])
        yield language_model(θ, around(θ, P, i, x, y)), logits(model, ids, γ)
        elsewhere = language_model(θ, around(θ, P, (i + 1) % (m + 1), x, y))
        yield Differs(elsewhere, logits(model, ids, γ))
        only_y = np.where(np.arange(len(ids)) < m + len(x), -100, ids)
        ours = model.loss([ids], only_y[None], γ)
        yield loss(θ, P, i, x, y), ours.data
        yield gradient(lambda P, i=i: loss(θ, P, i, x, y), P), grad(ours, γ.parameters())[0].T


@equation("PT-2")
def encoder(draw):
    """h_i = MLP([→h_i ; ←h_i]) = MLP([LSTM(h_0:i) : LSTM(h_i:m)]),  MLP = Linear → relu → Linear
    Liu et al. 2021, §3.2; LAMA's →h has d/2 numbers, few-shot's d, and either may lack the LSTM"""
    model, words, m = draw.model(), draw.words(), draw.size(2, 4)
    θ, d, k = columns(model), model.config.width, draw.size(0, m)
    ids = [*range(draw.V, draw.V + k), *words, *range(draw.V + k, draw.V + m)]
    for kind, width in (("lstm", d), ("lstm-half", d // 2), ("mlp", None)):
        layers = draw.size(1, 2) if width else 2
        method = PTuning(f"[P]*{k} {{x}} [P]*{m - k}", encoder=kind, layers=layers)
        γ = draw.attached(method, model)
        ((E, *weights),) = columns(γ)
        folded, P = fold(γ), encoded(E, *weights)
        yield P, folded.at["tokens"][0].data.T
        text = np.hstack([P[:, :k], embed(θ, words), P[:, k:]])
        yield language_model(θ, text), logits(model, ids, γ)
        yield logits(model, ids, γ), logits(model, ids, folded), EXACT
        yield m * d, size(folded), EXACT
        if width:
            yield [width, 2 * width], [weights[1].shape[1], weights[-4].shape[1]], EXACT


@equation("PT-3")
def anchor(draw):
    """a word left in the template, as '?' for RTE, is e(word), frozen; only h_0, …, h_m are trained
    Liu et al. 2021, §3.2"""
    model, words, word = draw.model(), draw.words(), draw.size(0, draw.V - 1)
    tokenizer = SimpleNamespace(encode=lambda text, **_: SimpleNamespace(ids=[word]))
    template, θ = "[P]*2 {x} ? [P] {y}", columns(model)
    γ, y = draw.attached(PseudoTokens(template), model), draw.words()
    ids = np.array(Template(template).fill(tokenizer, draw.V, x=[*words], y=[*y]))
    ((P,),), mark = columns(γ), θ.tokens.W[:, [word]]
    text = np.hstack([P[:, :2], embed(θ, words), mark, P[:, 2:], embed(θ, y)])
    yield language_model(θ, text), logits(model, ids, γ)
    yield 3 * model.config.width, size(γ), EXACT
    # a Chain in which the words are trained too: those that are read, the anchor among them
    joint = Chain(FullFineTuning("^tokens$").attach(model), γ)
    labels = np.where(ids < draw.V, ids, -100)
    dW, _ = grad(model.loss(ids[None], labels[None], joint), joint.parameters())
    yield sorted({*words, word, *y[:-1]}), np.flatnonzero(abs(dW).sum(axis=1)), EXACT


@equation("PT-4")
def places_of_lama(draw):
    """both ways (3, sub, 3, obj, 3);  to the right (3, sub, 3, obj)
    Liu et al. 2021, §4.1; their modeling.py:87 has BERT's [MASK] before the subject"""
    model, words = draw.model(kind=MaskedLM, make=BertConfig), draw.rng.permutation(draw.V)
    θ, (cls, mask, sep, obj), sub = columns(model), words[:4], words[4 : 4 + draw.size(1, 6)]
    paper = "{cls} [P]*3 {sub} [P]*3 {obj} [P]*3 {sep}"
    code = "{cls} [P]*3 {obj} [P]*3 {sub} [P]*3 {sep}"
    γ, said = draw.attached(PseudoTokens(paper), model), []
    P_1, P_2, P_3 = np.split(columns(γ)[0][0], 3, axis=1)
    for text, (first, second) in ((paper, (sub, [mask])), (code, ([mask], sub))):
        parts = {"cls": [cls], "sub": [*sub], "obj": [mask], "sep": [sep]}
        ids = np.array(Template(text).fill(None, draw.V, **parts))
        first, second, start, end = (embed(θ, part) for part in (first, second, [cls], [sep]))
        z = masked_words(θ, np.hstack([start, P_1, first, P_2, second, P_3, end]))
        yield z, logits(model, ids, γ)
        at = ids == mask
        ours = model.loss(ids[None], np.where(at, obj, -100)[None], γ)
        yield -log_p(z[:, at], [obj])[0], ours.data
        said.append(z[:, at])
    yield Differs(*said)
    model = draw.model()
    template, θ = "[P]*3 {sub} [P]*3 {obj}", columns(model)
    γ = draw.attached(PseudoTokens(template), model)
    ids = np.array(Template(template).fill(None, draw.V, sub=[*sub], obj=[obj]))
    ((P,),) = columns(γ)
    P_1, P_2 = np.split(P, 2, axis=1)
    z = language_model(θ, np.hstack([P_1, embed(θ, sub), P_2, embed(θ, [obj])]))
    yield z, logits(model, ids, γ)
    only_obj = np.where(np.arange(len(ids)) < len(ids) - 1, -100, ids)
    yield -log_p(z[:, [-2]], [obj])[0], model.loss(ids[None], only_obj[None], γ).data


@equation("PT-5")
def jointly(draw):
    """(ĥ, θ̂) = argmin ℓ: h_i stands in place of an embedding, so no row of words moves for it
    Liu et al. 2021, §3.1; their wrapper.py:312 tunes θ too on SuperGLUE (X22)"""
    model = draw.model(layers=1, width=4, heads=1, tied_head=False)
    θ, x, y, k = columns(model), draw.words(), draw.words(), draw.size(1, 3)
    γ = draw.attached(PseudoTokens(f"[P]*{k} {{x}}"), model)
    joint = Chain(full := FullFineTuning().attach(model), γ)
    ids = np.array([*range(draw.V, draw.V + k), *x, *y])
    only_y = np.where(np.arange(len(ids)) < k + len(x), -100, ids)
    wanted = full.at["tokens"] + γ.at["tokens"]
    dW, dP = grad(model.loss(ids[None], only_y[None], joint), wanted)
    W, ((P,),) = θ.tokens.W, columns(γ)
    yield gradient(lambda W: joint_loss(θ, W, P, x, y), W), dW.T
    yield gradient(lambda P: joint_loss(θ, W, P, x, y), P), dP.T
    absent = np.setdiff1d(range(draw.V), [*x, *y])
    yield 0 * dW[absent], dW[absent], EXACT
    on_a_word = gradient(lambda W: joint_loss(θ, W, W[:, [0]] + P, x, y), W)
    yield Differs(on_a_word, dW.T)
