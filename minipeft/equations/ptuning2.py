"""P-tuning v2: Liu et al. 2021b, "P-Tuning v2"."""

import numpy as np

from ..adaptation.adaptation import parameter
from ..adaptation.chain import Chain
from ..adaptation.merge import fold
from ..autograd.nn import size
from ..autograd.tensor import grad
from ..methods import Encoded, Probe, PTuningV2
from ..model.bert import BertConfig, Encoder
from ..model.heads import Classifier, TokenClassifier
from ..training.optim import AdamW
from .draw import columns, flat, logits
from .entry import EXACT, Differs, equation
from .literal import (
    bert,
    embed,
    gradient,
    hidden_states,
    language_model,
    pooler,
    softmax,
    with_prefix,
)
from .prefix_use import prefix_mlp


def by_layer(rows):
    """[(P_key, P_value), …] of [P_key, P_value, P_key, …]"""
    return list(zip(rows[::2], rows[1::2]))


def dropout(P, u, p):
    """0 where u < p, and P/(1 - p) elsewhere, which keeps the mean if u ~ U[0, 1)"""
    dropped = np.zeros(P.shape)
    for i in np.ndindex(P.shape):
        dropped[i] = 0 if u[i] < p else P[i] / (1 - p)
    return dropped


def prefix_dropout(P, rng, p, B):
    """B prefixes, each with its own dropout; u is drawn for each layer, for its keys first"""
    rows = [X for P_l in P for X in P_l]
    u = [rng.random((B, *X.T.shape)) for X in rows]
    return [by_layer([dropout(X, u_X[b].T, p) for X, u_X in zip(rows, u)]) for b in range(B)]


def mlp_size(N, k, d, m):
    """k d + (d + 1) m + (m + 1) 2 N d: E, two linear layers with biases"""
    return k * d + (d + 1) * m + (m + 1) * 2 * N * d


def task_loss(θ, P, W, x, y):
    """-log p(y | x),  p = softmax(W h),  h the last hidden state after a prefix P of one layer"""
    H = hidden_states(θ, embed(θ, x), P[0].shape[1], [P])
    return -np.log(softmax(W @ H[:, -1])[y])


@equation("P2-1")
def prefix_in_every_layer(draw):
    """[P_key, K], [P_value, V] in every layer, with dropout, with or without an MLP
    Liu et al. 2021b, §3.2, §3.3; Adaptation chapter (corrected, X12); Prompting notes (corrected,
    X18); Why prompts work (corrected, X20)"""
    k, p, seed = draw.size(4, 6), 0.5, draw.size(0, 10**9)
    model, θ, words, γ = draw.case(PTuningV2(k))
    yield with_prefix(θ, columns(γ), words), logits(model, words, γ)
    encoder = draw.model(kind=Encoder, make=BertConfig)
    θ_bert, γ = columns(encoder), draw.adaptation(PTuningV2(k), encoder)
    H = bert(θ_bert, embed(θ_bert, words), start=k, prefix=columns(γ))
    yield H, logits(encoder, words, γ)
    mlp = draw.adaptation(Encoded(PTuningV2(k), mlp_width=3), model)
    P = by_layer(np.split(prefix_mlp(*columns(mlp)[0]), 2 * len(θ.blocks)))
    yield with_prefix(θ, P, words), logits(model, words, mlp)
    yield logits(model, words, mlp), logits(model, words, fold(mlp)), EXACT
    training = logits(model, words, mlp, rng=np.random.default_rng(seed))
    yield Differs(logits(model, words, mlp), training)
    # with a generator there is dropout, another mask for each text
    γ = draw.adaptation(PTuningV2(k, dropout=p, shift_positions=False), model)
    texts, rng = np.stack([words, words]), np.random.default_rng(seed)
    prefixes = prefix_dropout(columns(γ), rng, p, B=2)
    library = columns(model(texts, γ, rng=np.random.default_rng(seed)))
    yield [language_model(θ, embed(θ, words), prefix=P) for P in prefixes], library
    yield Differs(*library)
    yield language_model(θ, embed(θ, words), prefix=columns(γ)), logits(model, words, γ)


@equation("P2-2")
def no_verbalizer(draw):
    """softmax(W tanh(W_p h_CLS + b_p)) of a text, softmax(W h_t) of a token: no words for classes
    Liu et al. 2021b, §3.3"""
    trunk, words, k = draw.model(kind=Encoder, make=BertConfig), draw.words(), draw.size(1, 4)
    model, tagger, C = Classifier(trunk, 3, "cls"), TokenClassifier(trunk, 3), 3
    θ, tags = columns(trunk), draw.rng.integers(0, C, len(words))
    prefix, head = draw.adaptation(PTuningV2(k), model), draw.adaptation(Probe(), model)
    γ, ((W,),) = Chain(prefix, head), columns(head)
    H = bert(θ, embed(θ, words), start=k, prefix=columns(prefix))  # a prefix adds no columns
    p = softmax(W @ pooler(θ, H))
    yield p, softmax(columns(model(words[None], γ)))
    yield -np.log(p[tags[0]]), [model.loss(words[None], tags[:1], γ).data]
    yield Differs(softmax(W @ H[:, [0]]), softmax(columns(model(words[None], γ))))
    p = softmax(W @ H)
    yield p, softmax(columns(tagger(words[None], γ))[0])
    literal = -np.log(p[tags, range(len(words))]).mean()
    yield literal, tagger.loss(words[None], tags[None], γ).data


@equation("P2-3")
def prefix_and_head_size(draw):
    """2 N k d and the head;  with an MLP 9,860,105 for BERT-base, k = 5, m = 512, 9 labels
    Liu et al. 2021b, code, a comment; their heads have a bias, those here have none"""
    k, m, C = draw.size(1, 5), draw.size(1, 5), draw.size(2, 5)
    model = Classifier(draw.model(kind=Encoder, make=BertConfig), C, "cls")
    N, d = len(model.blocks), model.config.width
    γ = Chain(PTuningV2(k), Probe()).attach(model, draw.rng)
    yield 2 * N * k * d + C * d, size(γ), EXACT
    γ = Chain(Encoded(PTuningV2(k), m), Probe()).attach(model, draw.rng)
    yield mlp_size(N, k, d, m) + C * d, size(γ), EXACT
    parameters = Encoded(PTuningV2(5), 512).network(5, 768, 2 * 12 * 768, draw.rng)
    bert_base = sum(p.size for p in parameters.values()) + 9 * 768 + 9
    yield [mlp_size(12, 5, 768, 512) + 9 * 768 + 9, 9_860_105], [bert_base] * 2, EXACT


@equation("P2-4")
def multitask(draw):
    """∂/∂P Σ_t ℓ_t = Σ_t ∂ℓ_t/∂P for a prefix that tasks share, each with its own head
    Liu et al. 2021b, §3.3, which is not in their code"""
    trunk = draw.model(layers=1, width=4, heads=1)
    θ, γ = columns(trunk), draw.adaptation(PTuningV2(draw.size(1, 2)), trunk)
    tasks = []
    for C in (2, 3):
        model, words = Classifier(trunk, C), draw.words()
        head = draw.adaptation(Probe(), model)
        tasks.append((model, head, columns(head)[0][0], words, draw.size(0, C - 1)))
    ((P_key, P_value),), heads = columns(γ), [head.parameters()[0] for _, head, *_ in tasks]
    losses = lambda: [m.loss(x[None], [y], Chain(γ, head)) for m, head, _, x, y in tasks]
    joint = lambda *P: sum(task_loss(θ, P, W, x, y) for _, _, W, x, y in tasks)
    d_key, d_value, *d_heads = grad(losses(), γ.parameters() + heads)
    yield gradient(lambda P: joint(P, P_value), P_key), d_key.T
    yield gradient(lambda P: joint(P_key, P), P_value), d_value.T
    separate = [grad(loss, γ.parameters() + heads) for loss in losses()]
    yield sum(flat(g) for g in separate), flat([d_key, d_value, *d_heads])
    yield Differs(flat(separate[0]), flat(separate[1]))
    # then a copy is trained on one task; the shared prefix and the other head stay as they are
    copy = Chain(γ.map(lambda p: parameter(p.data.copy())), tasks[0][1])
    before, other_head = flat(copy.parameters()), heads[1].data.copy()
    model, _, _, x, y = tasks[0]
    AdamW(copy.parameters()).step(grad(model.loss(x[None], [y], copy), copy.parameters()))
    yield Differs(before, flat(copy.parameters()))
    shared = flat([P_key.T, P_value.T, other_head])
    yield shared, flat(γ.parameters() + heads[1:]), EXACT
