"""Probing: 003 §11.2.1."""

import numpy as np

from ..autograd.tensor import grad
from ..methods import Probe, PromptTuning
from ..model.bert import BertConfig, Encoder
from ..model.heads import Classifier, Head
from .draw import columns
from .entry import EXACT, Differs, equation
from .literal import attn_op, causal, embed, pooled, read_both_ways, softmax, states


def last(H):
    return H[:, -1:]


def mean(H):
    """1/L Σ h_t"""
    return sum(H[:, [t]] for t in range(H.shape[1])) / H.shape[1]


def masked_mean(H, m):
    """Σ m_t h_t / Σ m_t"""
    return sum(m[t] * H[:, [t]] for t in range(len(m))) / sum(m)


def probe(W, h):
    """p(y | x) = softmax(W · pool(h))"""
    return softmax(W @ h)


def hessian(W, hs):
    """Of 1/n Σ -log p(y_i | x_i), by the columns of W: 1/n Σ hhᵀ ⊗ (diag p - ppᵀ), for any y_i"""
    ps = [probe(W, h) for h in hs]
    return sum(np.kron(h @ h.T, np.diagflat(p) - p @ p.T) for h, p in zip(hs, ps)) / len(hs)


def derivative(head, features, labels, γ, i, step=1e-4):
    """Of the library's gradient along number i of W, by differences (Richardson)."""
    (W,) = γ.parameters()

    def slope(step):
        end = []
        for sign in (1, -1):
            W.data.flat[i] += sign * step
            end += grad(head.loss(features, labels, γ), [W])
            W.data.flat[i] -= sign * step
        return (end[0] - end[1]).ravel() / (2 * step)

    return (4 * slope(step / 2) - slope(step)) / 3


def least_loss(head, features, labels, γ):
    """Gradient descent on the library's loss + λ/2 |W|²."""
    (W,), bound = γ.parameters(), (features**2).sum(-1).max() / 2
    λ = bound / 10
    for _ in range(200):
        (g,) = grad(head.loss(features, labels, γ), [W])
        W.data -= (g + λ * W.data) / (λ + bound)
    return head.loss(features, labels, γ).data + λ / 2 * (W.data**2).sum()


@equation("PB-1")
def linear_probe(draw):
    """p(y | x) = softmax(W · pool(h) + b), θ_LM frozen: h is computed once, the loss is convex
    003 §11.2.1.2 (here b = 0)"""
    model, texts = draw.model(), [draw.words() for _ in range(4)]
    θ, (ids, mask), labels = columns(model), draw.padded(texts), draw.rng.integers(0, 3, 4)
    for pool in (last, mean):
        classifier = Classifier(model, 3, pool.__name__)
        γ = draw.attached(Probe(), classifier)
        ((W,),) = columns(γ)
        hs = [pool(states(θ, embed(θ, x))) for x in texts]
        ps = np.hstack([probe(W, h) for h in hs])
        yield ps, softmax(classifier(ids, γ, mask=mask).data.T)
        loss = classifier.loss(ids, labels, γ, mask=mask)
        yield -np.log(ps[labels, range(4)]).mean(), loss.data
        # the same bits from features that are there already
        features = classifier.features(ids, mask=mask)[0].data
        head = Head(classifier.score, model.config)
        again = head.loss(features, labels, γ)
        yield loss.data, again.data, EXACT
        yield grad(loss, γ.parameters()), grad(again, γ.parameters()), EXACT
    ours = np.array([derivative(head, features, labels, γ, i) for i in range(W.size)])
    yield hessian(W, hs), ours, 1e-9
    yield np.zeros(W.size), np.minimum(np.linalg.eigvalsh(ours), 0), 1e-9  # convex
    starts = [draw.attached(Probe(), classifier) for _ in range(2)]
    yield [least_loss(head, features, labels, start) for start in starts]  # one minimum


@equation("PB-2")
def one_token_for_all(draw):
    """pool(h) = h_CLS, column k behind k soft prompts; of a causal model, of the last real token
    003 §11.2.1.3; BERT's pooler tanh(W h_CLS + b) is part of θ_LM: Devlin et al. 2019"""
    model, text = draw.model(), draw.words()
    θ, padded = columns(model), np.append(text, draw.words()[0])[None]
    classifier, mask = Classifier(model, 3, "last"), np.arange(len(text) + 1)[None] < len(text)
    ours = columns(classifier.features(padded, mask=mask)[0])[0]
    yield last(states(θ, embed(θ, text))), ours
    yield Differs(last(columns(model.states(padded)[0])[0]), ours)  # its padding
    model, token_types = (
        draw.model(kind=Encoder, make=BertConfig),
        draw.rng.integers(0, 2, len(text)),
    )
    classifier, θ = Classifier(model, 3, "cls"), columns(model)
    H = read_both_ways(θ, embed(θ, text), token_types=token_types)
    ours = lambda *γ: columns(
        classifier.features(text[None], *γ, token_types=token_types[None])[0]
    )[0]
    yield H, columns(model(text[None], token_types=token_types[None]))[0]
    yield pooled(θ, H), ours()
    γ = draw.attached(PromptTuning(draw.size(1, 4)), classifier)
    ((P,),) = columns(γ)
    k = P.shape[1]
    H = read_both_ways(θ, np.hstack([P, embed(θ, text)]), [0] * k + [*token_types])
    yield pooled(θ, H[:, k:]), ours(γ)
    yield Differs(pooled(θ, H), ours(γ))  # a virtual token


@equation("PB-3")
def mean_without_padding(draw):
    """pool(h) = Σ m_t h_t / Σ m_t = mean of the text without padding
    003 §11.2.1.3"""
    model, texts = draw.model(), [draw.words() for _ in range(3)]
    θ, (ids, mask) = columns(model), draw.padded(texts)
    classifier = Classifier(model, 3, "mean")
    pooled = columns(classifier.features(ids, mask=mask)[0])
    H = columns(model.states(ids, mask=mask)[0])
    yield [mean(states(θ, embed(θ, x))) for x in texts], pooled
    yield [masked_mean(H_i, m) for H_i, m in zip(H, mask)], pooled
    yield Differs([mean(H_i) for H_i in H], pooled)


@equation("PB-4")
def order_of_words(draw):
    """mean pooling sees the order of words, by positions or by a causal mask; not without both
    003 §11.2.1.3, which gives the first reason only"""
    for attend in (causal, attn_op):
        for positions in ("learned", "none"):
            model = draw.model(causal=attend is causal, positions=positions)
            classifier, words = Classifier(model, 3, "mean"), draw.words(least=2)
            rolled, θ = np.roll(words, 1), columns(model)
            literal, other = (mean(states(θ, embed(θ, x), attend=attend)) for x in (words, rolled))
            ours = columns(classifier.features(rolled[None])[0])[0]
            yield other, ours
            ordered = attend is causal or positions == "learned"
            yield Differs(literal, ours) if ordered else (literal, ours)
