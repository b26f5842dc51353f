"""Adaptation in general: 003 §11.1.2, §11.2.2, §11.2.3.4."""

import numpy as np

from ..autograd.nn import size
from ..autograd.tensor import grad
from ..methods import Adapter, FullFineTuning, LoRA, PrefixTuning, PromptTuning
from ..model.heads import Classifier
from ..training.optim import AdamW
from .draw import columns, flat, logits
from .entry import EXACT, Differs, equation
from .literal import embed, gradient, language_model, log_p, prefixed


def loss(θ, P, x):
    """ℓ_task(γ, θ_LM, x): the mean of -log p(x_t | x_<t), γ being one layer's prefix P"""
    return -log_p(prefixed(θ, [P], x[:-1]), x[1:]).mean()


def risk(θ, P, xs):
    """1/n Σ ℓ_task(γ, θ_LM, x_i)"""
    return sum(loss(θ, P, x) for x in xs) / len(xs)


def adam(gs, lr, β1=0.9, β2=0.999, ε=1e-8):
    """Σ Δ,  Δ = -lr m̂/(√v̂ + ε),  m ← β₁m + (1 - β₁)g,  v ← β₂v + (1 - β₂)g²,  m₀ = v₀ = 0"""
    Δ = m = v = 0
    for t, g in enumerate(gs, start=1):
        m, v = β1 * m + (1 - β1) * g, β2 * v + (1 - β2) * g**2
        Δ = Δ - lr * (m / (1 - β1**t)) / (np.sqrt(v / (1 - β2**t)) + ε)
    return Δ


def weights_of_gpt2(V, T, d, N):
    """Words; positions; in each layer 12 d² of matrices, 9d of biases, 4d of norms; a last norm"""
    return V * d + T * d + N * (12 * d**2 + 13 * d) + 2 * d


@equation("EQ-ERM")
def empirical_risk(draw):
    """γ_adapt = argmin_{γ∈Γ} 1/n Σ ℓ_task(γ, θ_LM, x_i, y_i)
    003 §11.1.2, where the formula lost letters (X5)"""
    γ = PrefixTuning(draw.size(1, 2))
    model, θ, _, γ = draw.case(γ, layers=1, heads=1, width=4)
    xs = np.stack([draw.words(4, 4) for _ in range(draw.size(1, 3))])
    ((P_key, P_value),), whole = columns(γ), model.loss(xs, xs, γ)
    yield risk(θ, (P_key, P_value), xs), whole.data
    d_key, d_value = grad(whole, γ.parameters())
    yield gradient(lambda P: risk(θ, (P, P_value), xs), P_key), d_key.T
    yield gradient(lambda P: risk(θ, (P_key, P), xs), P_value), d_value.T
    model = draw.model()
    for method in (LoRA(2), Adapter(2), PromptTuning(2), PrefixTuning(2)):
        γ = draw.attached(method, model)
        texts = [draw.words(n, n) for n in (2, 5)]
        whole, pieces, mean_of_means = gradients(model, γ, texts, *draw.padded(texts))
        yield flat(pieces), flat(whole)
        yield Differs(flat(mean_of_means), flat(whole))  # lengths differ: labels are counted
        θ_before, γ_before = flat(model.parameters()), flat(γ.parameters())
        AdamW(γ.parameters()).step(whole)
        yield θ_before, flat(model.parameters()), EXACT
        yield Differs(γ_before, flat(γ.parameters()))


def gradients(model, γ, texts, ids, mask):
    """Of a batch; of its texts, each over all labels, summed; of their own means, the mean."""
    labels = sum(len(x) - 1 for x in texts)
    of = lambda *x, **options: grad(model.loss(*x, γ, **options), γ.parameters())
    pieces = [of(x[None], x[None], count=labels) for x in texts]
    means = [of(x[None], x[None]) for x in texts]
    whole = of(ids, ids, mask=mask)
    return whole, [sum(g) for g in zip(*pieces)], [sum(g) / len(texts) for g in zip(*means)]


@equation("EQ-FT")
def fine_tuning(draw):
    """Γ = all of θ_LM and a head; the first update of the new Adam is -lr · sign(g)
    003 §11.2.2 (a tenth of the learning rate is a habit, X10); Kingma & Ba 2015, algorithm 1"""
    model, words = draw.model(), draw.words(least=2)
    c, γ = model.config, FullFineTuning().attach(model)
    count = weights_of_gpt2(c.vocabulary, c.length, c.width, c.layers)  # the tied head once
    yield count, size(γ), EXACT
    yield count + 3 * c.width, size(FullFineTuning().attach(Classifier(model, 3))), EXACT
    yield logits(model, words), logits(model, words, γ), EXACT
    θ, optimizer, gs = flat(γ.parameters()), AdamW(γ.parameters(), lr=1e-3), []
    for _ in range(3):
        gs.append(grad(model.loss(words[None], words[None], γ), γ.parameters()))
        optimizer.step(gs[-1])
        yield θ + adam([flat(g) for g in gs], lr=1e-3), flat(γ.parameters())
    fresh = FullFineTuning().attach(model)
    AdamW(fresh.parameters(), lr=1e-3, eps=1e-100).step(gs[0])
    yield θ - 1e-3 * np.sign(flat(gs[0])), flat(fresh.parameters())


@equation("EQ-LIGHT")
def depends_on_the_model(draw):
    """θ_LM = 0: prompts and prefixes do nothing;  W_q = W_k = W_v = 0 ≠ W_o: prefixes do
    003 §11.2.3.4, which says the first of prefixes without the word "all" (X11)"""
    k, words = draw.size(1, 4), draw.words()
    prompt, prefix = PromptTuning(k), PrefixTuning(k)
    nothing = draw.model(zero="")
    for γ in (prompt, prefix):
        yield (
            np.zeros((draw.V, len(words))),
            logits(nothing, words, draw.attached(γ, nothing)),
            EXACT,
        )
    # biases, norms and a head are left: logits that do not depend on γ, if γ is no adapter
    no_weights = draw.model(
        zero=r"tokens|\.(q|k|v|o|up|down)\.W", tied_head=False, positions="none"
    )
    θ = columns(no_weights)
    plain = language_model(θ, embed(θ, words))
    for γ in (prompt, prefix):
        yield plain, logits(no_weights, words, draw.attached(γ, no_weights))
    yield Differs(plain, logits(no_weights, words, draw.attached(Adapter(2), no_weights)))
    no_qkv = draw.model(zero=r"attn\.[qkv]", positions="none")
    θ, prompt, prefix = columns(no_qkv), *(draw.attached(γ, no_qkv) for γ in (prompt, prefix))
    plain = language_model(θ, embed(θ, words))
    yield plain, logits(no_qkv, words, prompt)
    yield language_model(θ, embed(θ, words), prefix=columns(prefix)), logits(no_qkv, words, prefix)
    yield Differs(plain, logits(no_qkv, words, prefix))
