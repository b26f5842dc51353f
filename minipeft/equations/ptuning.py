"""P-tuning: Liu et al. 2021a, "GPT Understands, Too"."""

from types import SimpleNamespace

import numpy as np

from ..adaptation.chain import Chain
from ..adaptation.merge import fold
from ..adaptation.method import PSEUDO
from ..autograd.nn import size
from ..autograd.tensor import grad
from ..methods import FullFineTuning, PseudoTokens, PTuning
from ..methods.template import Template
from ..model.bert import BertConfig, MaskedLM
from .draw import columns, logits
from .entry import EXACT, Differs, equation
from .literal import (
    bert,
    embed,
    exact_gelu,
    gradient,
    language_model,
    layer_norm,
    linear,
    lm_head,
    log_p,
)


def sigmoid(x):
    """1 / (1 + e^-x)"""
    return 1 / (1 + np.exp(-x))


def lstm(W, U, b, X):
    """c ← f c + i g,  h ← o tanh c: h after the last column of X, by steps and units"""
    n = len(U) // 4
    h, c = np.zeros(n), np.zeros(n)
    for x in X.T:
        previous = h.copy()
        for unit in range(n):
            i, f, g, o = (W[r] @ x + U[r] @ previous + b[r, 0] for r in range(unit, 4 * n, n))
            c[unit] = sigmoid(f) * c[unit] + sigmoid(i) * np.tanh(g)
            h[unit] = sigmoid(o) * np.tanh(c[unit])
    return h


def bidirectional_lstm(forward, backward, X):
    """[→h_i ; ←h_i] = [LSTM(x_0, …, x_i) : LSTM(x_m, …, x_i)]"""
    right = [lstm(*forward, X[:, : i + 1]) for i in range(X.shape[1])]
    left = [lstm(*backward, X[:, i:][:, ::-1]) for i in range(X.shape[1])]
    return np.hstack([right, left]).T


def prompt_encoder(E, *θ):
    """h_i = W_2 relu(W_1 [→h_i ; ←h_i] + b_1) + b_2;  each LSTM layer has six of the arrays θ"""
    *lstms, W_1, b_1, W_2, b_2 = θ
    X = E
    for l in range(0, len(lstms), 6):
        X = bidirectional_lstm(lstms[l : l + 3], lstms[l + 3 : l + 6], X)
    return W_2 @ np.maximum(W_1 @ X + b_1, 0) + b_2


def template_embeddings(θ, P, i, x, y):
    """{h_0, …, h_i-1, e(x), h_i, …, h_m, e(y)}"""
    return np.hstack([P[:, :i], embed(θ, x), P[:, i:], embed(θ, y)])


def template_loss(θ, P, i, x, y):
    """The mean of -log p(y_t | template, y_<t)"""
    logits = language_model(θ, template_embeddings(θ, P, i, x, y))
    return -log_p(logits[:, -len(y) - 1 : -1], y).mean()


def joint_loss(θ, W, P, x, y):
    """The loss for {h_0, …, h_m, e(x), e(y)} as a function of P and the embeddings W"""
    logits = language_model(θ, np.hstack([P, W[:, x], W[:, y]]))
    return -log_p(logits[:, -len(y) - 1 : -1], y).mean()


def masked_lm(θ, E):
    """The logits of the word at each column of E"""
    H = exact_gelu(linear(θ.transform.dense, bert(θ, E)))
    return lm_head(θ, layer_norm(θ.transform.ln, H)) + θ.head.b


@equation("PT-1")
def template(draw):
    """{[P_0:i], x, [P_i+1:m], y} ↦ {h_0, …, h_i, e(x), h_i+1, …, h_m, e(y)};  ĥ = argmin_h ℓ
    Liu et al. 2021a, §3, eq. 1 to 3; Why prompts work; Prompting notes, §1.1.3"""
    model, m = draw.model(layers=1, width=4, heads=1), draw.size(1, 4)
    θ, x, y = columns(model), draw.words(), draw.words()
    for i in range(m + 1):  # every place of x
        template = f"[P]*{i} {{x}} [P]*{m - i} {{y}}"
        γ = draw.adaptation(PseudoTokens(template), model)
        ((P,),), ids = columns(γ), Template(template).fill(None, draw.V, x=[*x], y=[*y])
        embeddings = template_embeddings(θ, P, i, x, y)
        yield language_model(θ, embeddings), logits(model, ids, γ)
        other_place = template_embeddings(θ, P, (i + 1) % (m + 1), x, y)
        yield Differs(language_model(θ, other_place), logits(model, ids, γ))
        y_labels = np.where(np.arange(len(ids)) < m + len(x), -100, ids)
        loss = model.loss([ids], y_labels[None], γ)
        yield template_loss(θ, P, i, x, y), loss.data
        ℓ = lambda P, i=i: template_loss(θ, P, i, x, y)
        yield gradient(ℓ, P), grad(loss, γ.parameters())[0].T


@equation("PT-2")
def encoder(draw):
    """h_i = MLP([→h_i ; ←h_i]) = MLP([LSTM(h_0:i) : LSTM(h_i:m)]),  MLP = Linear → relu → Linear
    Liu et al. 2021a, §3.2; →h has d/2 numbers in their code for LAMA, d in that for few examples"""
    model, words, m = draw.model(), draw.words(), draw.size(2, 4)
    θ, d, k = columns(model), model.config.width, draw.size(0, m)
    ids = [*PSEUDO - np.arange(k), *words, *PSEUDO - np.arange(k, m)]
    for kind, width in (("lstm", d), ("lstm-half", d // 2), ("mlp", None)):
        layers = draw.size(1, 2) if width else 2
        method = PTuning(f"[P]*{k} {{x}} [P]*{m - k}", encoder=kind, layers=layers)
        γ = draw.adaptation(method, model)
        ((E, *weights),) = columns(γ)
        folded, P = fold(γ), prompt_encoder(E, *weights)
        yield P, folded.at["tokens"]["h"].data.T
        embeddings = np.hstack([P[:, :k], embed(θ, words), P[:, k:]])
        yield language_model(θ, embeddings), logits(model, ids, γ)
        yield logits(model, ids, γ), logits(model, ids, folded), EXACT
        yield m * d, size(folded), EXACT
        if width:
            yield [width, 2 * width], [weights[1].shape[1], weights[-4].shape[1]], EXACT


@equation("PT-3")
def anchor(draw):
    """a word of the template, as '?' for RTE, is e(word), frozen; only h_0, …, h_m are trained
    Liu et al. 2021a, §3.2"""
    model, words, word = draw.model(), draw.words(), draw.size(0, draw.V - 1)
    tokenizer = SimpleNamespace(encode=lambda text, **_: SimpleNamespace(ids=[word]))
    template, θ = "[P]*2 {x} ? [P] {y}", columns(model)
    γ, y = draw.adaptation(PseudoTokens(template), model), draw.words()
    ids = np.array(Template(template).fill(tokenizer, draw.V, x=[*words], y=[*y]))
    ((P,),), mark = columns(γ), embed(θ, [word])
    embeddings = np.hstack([P[:, :2], embed(θ, words), mark, P[:, 2:], embed(θ, y)])
    yield language_model(θ, embeddings), logits(model, ids, γ)
    yield 3 * model.config.width, size(γ), EXACT
    # with trained embeddings, the rows of the words that are read get a gradient, the anchor too
    joint = Chain(FullFineTuning("^tokens$").attach(model), γ)
    labels = np.where(ids >= 0, ids, -100)
    dW, _ = grad(model.loss(ids[None], labels[None], joint), joint.parameters())
    yield sorted({*words, word, *y[:-1]}), np.flatnonzero(abs(dW).sum(axis=1)), EXACT


@equation("PT-4")
def lama_templates(draw):
    """bidirectional (3, sub, 3, obj, 3);  unidirectional (3, sub, 3, obj)
    Liu et al. 2021a, §4.1; in their code, modeling.py:87, BERT's [MASK] is before the subject"""
    model, words = draw.model(kind=MaskedLM, make=BertConfig), draw.rng.permutation(draw.V)
    θ, (cls, mask, sep, obj), sub = columns(model), words[:4], words[4 : 4 + draw.size(1, 6)]
    paper = "{cls} [P]*3 {sub} [P]*3 {obj} [P]*3 {sep}"
    code = "{cls} [P]*3 {obj} [P]*3 {sub} [P]*3 {sep}"
    γ, at_mask = draw.adaptation(PseudoTokens(paper), model), []
    P_1, P_2, P_3 = np.split(columns(γ)[0][0], 3, axis=1)
    for template, (first, second) in ((paper, (sub, [mask])), (code, ([mask], sub))):
        parts = {"cls": [cls], "sub": [*sub], "obj": [mask], "sep": [sep]}
        ids = np.array(Template(template).fill(None, draw.V, **parts))
        first, second, start, end = (embed(θ, part) for part in (first, second, [cls], [sep]))
        z = masked_lm(θ, np.hstack([start, P_1, first, P_2, second, P_3, end]))
        yield z, logits(model, ids, γ)
        column = ids == mask
        loss = model.loss(ids[None], np.where(column, obj, -100)[None], γ)
        yield -log_p(z[:, column], [obj])[0], loss.data
        at_mask.append(z[:, column])
    yield Differs(*at_mask)
    model = draw.model()
    template, θ = "[P]*3 {sub} [P]*3 {obj}", columns(model)
    γ = draw.adaptation(PseudoTokens(template), model)
    ids = np.array(Template(template).fill(None, draw.V, sub=[*sub], obj=[obj]))
    ((P,),) = columns(γ)
    P_1, P_2 = np.split(P, 2, axis=1)
    z = language_model(θ, np.hstack([P_1, embed(θ, sub), P_2, embed(θ, [obj])]))
    yield z, logits(model, ids, γ)
    obj_label = np.where(np.arange(len(ids)) < len(ids) - 1, -100, ids)
    yield -log_p(z[:, [-2]], [obj])[0], model.loss(ids[None], obj_label[None], γ).data


@equation("PT-5")
def joint_tuning(draw):
    """(ĥ, θ̂) = argmin ℓ: h_i replaces an embedding, so no row of W gets a gradient from it
    Liu et al. 2021a, §3.1; their code, wrapper.py:312; Why prompts work (corrected, X22)"""
    model = draw.model(layers=1, width=4, heads=1, tied_head=False)
    θ, x, y, k = columns(model), draw.words(), draw.words(), draw.size(1, 3)
    γ = draw.adaptation(PseudoTokens(f"[P]*{k} {{x}}"), model)
    full = FullFineTuning().attach(model)
    ids = np.array([*PSEUDO - np.arange(k), *x, *y])
    y_labels = np.where(np.arange(len(ids)) < k + len(x), -100, ids)
    loss = model.loss(ids[None], y_labels[None], Chain(full, γ))
    dW, dP = grad(loss, [full.at["tokens"]["W"], γ.at["tokens"]["h"]])
    W, ((P,),) = θ.tokens.W, columns(γ)
    yield gradient(lambda W: joint_loss(θ, W, P, x, y), W), dW.T
    yield gradient(lambda P: joint_loss(θ, W, P, x, y), P), dP.T
    unread = np.setdiff1d(range(draw.V), [*x, *y])
    yield 0 * dW[unread], dW[unread], EXACT
    added_to_a_word = gradient(lambda W: joint_loss(θ, W, W[:, [0]] + P, x, y), W)
    yield Differs(added_to_a_word, dW.T)
