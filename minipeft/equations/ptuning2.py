"""P-tuning v2: 001, and 003, which calls it "prompt tuning v2" (X12); Liu et al. 2021."""

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
    embed,
    gradient,
    language_model,
    pooled,
    prefixed,
    read_both_ways,
    softmax,
    states,
)
from .prefix_use import prefix_mlp


def by_layer(rows):
    """P_key, P_value of every layer; rows: key and value of the first, of the second, …"""
    return list(zip(rows[::2], rows[1::2]))


def dropped(P, u, p):
    """Each number 0 where u < p, elsewhere 1/(1 - p) of itself: with u ~ U[0, 1) its mean stays"""
    left = np.zeros(P.shape)
    for i in np.ndindex(P.shape):
        left[i] = 0 if u[i] < p else P[i] / (1 - p)
    return left


def dropped_out(P, rng, p, B):
    """For each of B texts its own; drawn layer by layer, key then value, by rows"""
    rows = [X for P_l in P for X in P_l]
    u = [rng.random((B, *X.T.shape)) for X in rows]
    return [by_layer([dropped(X, u_X[b].T, p) for X, u_X in zip(rows, u)]) for b in range(B)]


def with_mlp(N, k, d, hidden):
    """E (k, d);  W_1 and b_1 to the hidden numbers;  W_2 and b_2 to key and value of N layers"""
    return k * d + (d + 1) * hidden + (hidden + 1) * 2 * N * d


def task_loss(θ, P, W, x, y):
    """-log p(y | x),  p = softmax(W h),  h the last state behind the prefix P of one layer"""
    H = states(θ, embed(θ, x), P[0].shape[1], [P])
    return -np.log(softmax(W @ H[:, -1])[y])


@equation("P2-1")
def prefix_everywhere(draw):
    """[P_key, K], [P_value, V] in every layer; an MLP, which 001 denies it, helps some tasks (X20)
    003's prompt tuning v2 (X12); Liu et al. 2021, §3.2; k from 4 to 224, not 10 to 50 (X18)"""
    k, p, seed = draw.size(4, 6), 0.5, draw.size(0, 10**9)
    model, θ, words, γ = draw.case(PTuningV2(k))
    yield prefixed(θ, columns(γ), words), logits(model, words, γ)
    bert = draw.model(kind=Encoder, make=BertConfig)
    θ_bert, γ_bert = columns(bert), draw.attached(PTuningV2(k), bert)
    H = read_both_ways(θ_bert, embed(θ_bert, words), start=k, prefix=columns(γ_bert))
    yield H, logits(bert, words, γ_bert)
    mlp = draw.attached(Encoded(PTuningV2(k), mlp_width=3), model)
    P = by_layer(np.split(prefix_mlp(*columns(mlp)[0]), 2 * len(θ.blocks)))
    yield prefixed(θ, P, words), logits(model, words, mlp)
    yield logits(model, words, mlp), logits(model, words, fold(mlp)), EXACT
    training = logits(model, words, mlp, rng=np.random.default_rng(seed))
    yield Differs(logits(model, words, mlp), training)
    # dropout in training, which is what a generator means
    γ = draw.attached(PTuningV2(k, dropout=p, shift_positions=False), model)
    texts, rng = np.stack([words, words]), np.random.default_rng(seed)
    drawn = dropped_out(columns(γ), rng, p, B=2)
    ours = columns(model(texts, γ, rng=np.random.default_rng(seed)))
    yield [language_model(θ, embed(θ, words), prefix=P) for P in drawn], ours
    yield Differs(*ours)  # the same text twice
    yield language_model(θ, embed(θ, words), prefix=columns(γ)), logits(model, words, γ)


@equation("P2-2")
def no_verbaliser(draw):
    """softmax(W tanh(W_p h_CLS + b_p)) of a text, softmax(W h_t) of a token: no words for classes
    Liu et al. 2021, §3.3"""
    trunk, words, k = draw.model(kind=Encoder, make=BertConfig), draw.words(), draw.size(1, 4)
    model, tagger, C = Classifier(trunk, 3, "cls"), TokenClassifier(trunk, 3), 3
    θ, tags = columns(trunk), draw.rng.integers(0, C, len(words))
    prefix, head = draw.attached(PTuningV2(k), model), draw.attached(Probe(), model)
    γ, ((W,),) = Chain(prefix, head), columns(head)
    H = read_both_ways(θ, embed(θ, words), start=k, prefix=columns(prefix))  # no columns of its own
    p = softmax(W @ pooled(θ, H))
    yield p, softmax(columns(model(words[None], γ)))
    yield -np.log(p[tags[0]]), [model.loss(words[None], tags[:1], γ).data]
    yield Differs(softmax(W @ H[:, [0]]), softmax(columns(model(words[None], γ))))
    p = softmax(W @ H)
    yield p, softmax(columns(tagger(words[None], γ))[0])
    literal = -np.log(p[tags, range(len(words))]).mean()
    yield literal, tagger.loss(words[None], tags[None], γ).data


@equation("P2-3")
def count(draw):
    """2Nkd and the head; 9,860,105 with an MLP: BERT-base, k = 5, 512 wide, 9 labels
    a comment in the authors' code, whose heads have a bias; here they have none"""
    k, hidden, C = draw.size(1, 5), draw.size(1, 5), draw.size(2, 5)
    model = Classifier(draw.model(kind=Encoder, make=BertConfig), C, "cls")
    N, d = len(model.blocks), model.config.width
    γ = Chain(PTuningV2(k), Probe()).attach(model, draw.rng)
    yield 2 * N * k * d + C * d, size(γ), EXACT
    γ = Chain(Encoded(PTuningV2(k), hidden), Probe()).attach(model, draw.rng)
    yield with_mlp(N, k, d, hidden) + C * d, size(γ), EXACT
    base = Encoded(PTuningV2(5), 512).network(5, 768, 2 * 12 * 768, draw.rng)
    theirs = sum(p.size for p in base.values()) + 9 * 768 + 9
    yield [with_mlp(12, 5, 768, 512) + 9 * 768 + 9, 9_860_105], [theirs] * 2, EXACT


@equation("P2-4")
def multitask(draw):
    """∂/∂P Σ_t ℓ_t = Σ_t ∂ℓ_t/∂P: a prefix shared by tasks, a head for each; then each task's own
    Liu et al. 2021, §3.3; the authors publish no code of it"""
    trunk = draw.model(layers=1, width=4, heads=1)
    θ, γ = columns(trunk), draw.attached(PTuningV2(draw.size(1, 2)), trunk)
    tasks = []
    for C in (2, 3):
        model, words = Classifier(trunk, C), draw.words()
        head = draw.attached(Probe(), model)
        tasks.append((model, head, columns(head)[0][0], words, draw.size(0, C - 1)))
    ((P_key, P_value),), heads = columns(γ), [head.parameters()[0] for _, head, *_ in tasks]
    losses = lambda: [m.loss(x[None], [y], Chain(γ, head)) for m, head, _, x, y in tasks]
    joint = lambda key, value: sum(task_loss(θ, (key, value), W, x, y) for _, _, W, x, y in tasks)
    d_key, d_value, *d_heads = grad(losses(), γ.parameters() + heads)
    yield gradient(lambda P: joint(P, P_value), P_key), d_key.T
    yield gradient(lambda P: joint(P_key, P), P_value), d_value.T
    apart = [grad(loss, γ.parameters() + heads) for loss in losses()]
    yield sum(flat(g) for g in apart), flat([d_key, d_value, *d_heads])
    yield Differs(flat(apart[0]), flat(apart[1]))
    # then one task alone, from there
    own = Chain(γ.map(lambda p: parameter(p.data.copy())), tasks[0][1])
    before, other = flat(own.parameters()), heads[1].data.copy()
    model, _, _, x, y = tasks[0]
    AdamW(own.parameters()).step(grad(model.loss(x[None], [y], own), own.parameters()))
    yield Differs(before, flat(own.parameters()))
    yield [*flat([P_key.T, P_value.T]), *flat([other])], flat(γ.parameters() + heads[1:]), EXACT
