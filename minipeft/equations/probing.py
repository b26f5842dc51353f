"""Probes and pooling: Alain & Bengio 2016; Devlin et al. 2019; Yang et al. 2016."""

import numpy as np

from ..autograd.tensor import grad
from ..methods import Probe, PromptTuning
from ..model.bert import BertConfig, Encoder
from ..model.heads import Classifier, Head
from .draw import columns, flat
from .entry import EXACT, Differs, equation
from .literal import attn_op, bert, causal_attn, embed, hidden_states, pooler, softmax


def last(H):
    """h_L"""
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


def feed_forward_probe(V, a, W, b, h):
    """p(y | x) = softmax(W relu(V · pool(h) + a) + b)"""
    return softmax(W @ np.maximum(V @ h + a, 0) + b)


def attention_pool(q, H):
    """Σ a_t h_t,  a_t = exp(h_t · q) / Σ exp(h_s · q)"""
    scores = [np.exp((h @ q).item()) for h in H.T]
    return sum(s * H[:, [t]] for t, s in enumerate(scores)) / sum(scores)


def hessian(W, hs):
    """∂²/∂W² 1/n Σ -log p(y_i | x_i) = 1/n Σ hhᵀ ⊗ (diag p - ppᵀ), with W column by column"""
    ps = [probe(W, h) for h in hs]
    return sum(np.kron(h @ h.T, np.diagflat(p) - p @ p.T) for h, p in zip(hs, ps)) / len(hs)


def hessian_row(head, features, labels, γ, i, step=1e-4):
    """Return row i of the Hessian: differences of the library's gradient, extrapolated."""
    (W,) = γ.parameters()

    def central_difference(step):
        gradients = []
        for sign in (1, -1):
            W.data.flat[i] += sign * step
            gradients += grad(head.loss(features, labels, γ), [W])
            W.data.flat[i] -= sign * step
        return (gradients[0] - gradients[1]).ravel() / (2 * step)

    return (4 * central_difference(step / 2) - central_difference(step)) / 3


def least_loss(head, features, labels, γ):
    """Return the minimum of the library's loss + λ/2 ‖W‖², by gradient descent."""
    (W,), bound = γ.parameters(), (features**2).sum(-1).max() / 2
    λ = bound / 10
    for _ in range(200):
        (g,) = grad(head.loss(features, labels, γ), [W])
        W.data -= (g + λ * W.data) / (λ + bound)
    return head.loss(features, labels, γ).data + λ / 2 * (W.data**2).sum()


@equation("PB-1")
def linear_probe(draw):
    """p(y | x) = softmax(W · pool(h)), θ_LM frozen: h is computed once, and the loss is convex
    Adaptation chapter, §11.2.1.2; Alain & Bengio 2016, §3"""
    model, texts = draw.model(), [draw.words() for _ in range(4)]
    θ, (ids, mask), labels = columns(model), draw.padded(texts), draw.rng.integers(0, 3, 4)
    for pool in (last, mean):
        classifier = Classifier(model, 3, pool.__name__)
        γ = draw.adaptation(Probe(), classifier)
        ((W,),) = columns(γ)
        hs = [pool(hidden_states(θ, embed(θ, x))) for x in texts]
        ps = np.hstack([probe(W, h) for h in hs])
        yield ps, softmax(classifier(ids, γ, mask=mask).data.T)
        loss = classifier.loss(ids, labels, γ, mask=mask)
        yield -np.log(ps[labels, range(4)]).mean(), loss.data
        # the same bits from features that are computed once
        features = classifier.features(ids, mask=mask)[0].data
        head = Head(classifier.score, model.config)
        head_loss = head.loss(features, labels, γ)
        yield loss.data, head_loss.data, EXACT
        yield grad(loss, γ.parameters()), grad(head_loss, γ.parameters()), EXACT
    library = np.array([hessian_row(head, features, labels, γ, i) for i in range(W.size)])
    yield hessian(W, hs), library, 1e-9
    yield np.zeros(W.size), np.minimum(np.linalg.eigvalsh(library), 0), 1e-9  # convex
    starts = [draw.adaptation(Probe(), classifier) for _ in range(2)]
    yield [least_loss(head, features, labels, start) for start in starts]  # one minimum


@equation("PB-2")
def one_token(draw):
    """pool(h) = h_CLS, column k after k soft prompts; in a causal model, the last real token
    Adaptation chapter, §11.2.1.3; Devlin et al. 2019, §3.1: the pooler tanh(W h_CLS + b)"""
    model, text = draw.model(), draw.words()
    θ, padded = columns(model), np.append(text, draw.words()[0])[None]
    classifier, mask = Classifier(model, 3, "last"), np.arange(len(text) + 1)[None] < len(text)
    features = columns(classifier.features(padded, mask=mask)[0])[0]
    yield last(hidden_states(θ, embed(θ, text))), features
    yield Differs(last(columns(model.states(padded)[0])[0]), features)  # of the padding
    model = draw.model(kind=Encoder, make=BertConfig)
    types = draw.rng.integers(0, 2, len(text))
    classifier, θ = Classifier(model, 3, "cls"), columns(model)
    library = lambda γ=None: columns(
        classifier.features(text[None], γ, token_types=types[None])[0]
    )[0]
    H = bert(θ, embed(θ, text), types)
    yield H, columns(model(text[None], token_types=types[None]))[0]
    yield pooler(θ, H), library()
    γ = draw.adaptation(PromptTuning(draw.size(1, 4)), classifier)
    ((P,),) = columns(γ)
    k = P.shape[1]
    H = bert(θ, np.hstack([P, embed(θ, text)]), [0] * k + [*types])
    yield pooler(θ, H[:, k:]), library(γ)
    yield Differs(pooler(θ, H), library(γ))  # of a virtual token


@equation("PB-3")
def mean_without_padding(draw):
    """pool(h) = Σ m_t h_t / Σ m_t: the mean of the text without padding
    Adaptation chapter, §11.2.1.3"""
    model, texts = draw.model(), [draw.words() for _ in range(3)]
    θ, (ids, mask) = columns(model), draw.padded(texts)
    classifier = Classifier(model, 3, "mean")
    features = columns(classifier.features(ids, mask=mask)[0])
    H = columns(model.states(ids, mask=mask)[0])
    yield [mean(hidden_states(θ, embed(θ, x))) for x in texts], features
    yield [masked_mean(H_i, m) for H_i, m in zip(H, mask)], features
    yield Differs([mean(H_i) for H_i in H], features)


@equation("PB-4")
def order_of_words(draw):
    """mean pooling depends on the order of words, by positions or by a causal mask
    Adaptation chapter, §11.2.1.3, which names positions only"""
    for attend in (causal_attn, attn_op):
        for positions in ("learned", "none"):
            model = draw.model(causal=attend is causal_attn, positions=positions)
            classifier, words = Classifier(model, 3, "mean"), draw.words(shortest=2)
            rolled, θ = np.roll(words, 1), columns(model)
            literal, literal_rolled = (
                mean(hidden_states(θ, embed(θ, x), attend=attend)) for x in (words, rolled)
            )
            features = columns(classifier.features(rolled[None])[0])[0]
            yield literal_rolled, features
            has_order = attend is causal_attn or positions == "learned"
            yield Differs(literal, features) if has_order else (literal, features)


@equation("PB-5")
def hidden_layer(draw):
    """p(y | x) = softmax(W relu(V · pool(h) + a) + b), in place of the head; h is computed once
    Adaptation chapter, §11.2.1.4, "a shallow feed-forward head"; Hewitt & Liang 2019, MLP-1"""
    model, texts, H = draw.model(), [draw.words() for _ in range(4)], draw.size(2, 6)
    θ, (ids, mask), labels = columns(model), draw.padded(texts), draw.rng.integers(0, 3, 4)
    classifier = Classifier(model, 3, "mean")
    γ = draw.adaptation(Probe(hidden=H), classifier)
    ((V, a, W, b),) = columns(γ)
    hs = [mean(hidden_states(θ, embed(θ, x))) for x in texts]
    ps = np.hstack([feed_forward_probe(V, a, W, b, h) for h in hs])
    yield ps, softmax(classifier(ids, γ, mask=mask).data.T)
    loss = classifier.loss(ids, labels, γ, mask=mask)
    yield -np.log(ps[labels, range(4)]).mean(), loss.data
    features = classifier.features(ids, mask=mask)[0].data
    head_loss = Head(classifier.score, model.config).loss(features, labels, γ)
    yield loss.data, head_loss.data, EXACT
    gradients = [flat(grad(l, γ.parameters())) for l in (loss, head_loss)]
    yield *gradients, EXACT
    head = columns(classifier.score).W
    yield Differs(np.hstack([probe(head, h) for h in hs]), ps)  # the head that it replaces


@equation("PB-6")
def attention_pooling(draw):
    """pool(h) = Σ a_t h_t,  a = softmax(h · q) over the text without padding; q = 0: the mean
    Yang et al. 2016, eq. 6 and 7, with u = h"""
    model, texts = draw.model(), [draw.words(shortest=2) for _ in range(3)]
    θ, (ids, mask) = columns(model), draw.padded(texts)
    classifier = Classifier(model, 3, "attention")
    γ = draw.adaptation(Probe(), classifier)
    (W,), (q,) = columns(γ)
    Hs = [hidden_states(θ, embed(θ, x)) for x in texts]
    pooled = [attention_pool(q.T, H) for H in Hs]
    yield pooled, columns(classifier.features(ids, γ, mask=mask)[0])
    ps = np.hstack([probe(W, h) for h in pooled])
    yield ps, softmax(classifier(ids, γ, mask=mask).data.T)
    yield [mean(H) for H in Hs], columns(classifier.features(ids, mask=mask)[0])
    H = columns(model.states(ids, mask=mask)[0])
    yield Differs([attention_pool(q.T, H_i) for H_i in H], pooled)  # of the padding
