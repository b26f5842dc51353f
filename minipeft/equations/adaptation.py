"""Adaptation in general: risk, fine-tuning, and what depends on the base model."""

import numpy as np

from ..autograd.nn import size
from ..autograd.tensor import grad
from ..methods import Adapter, FullFineTuning, LoRA, PrefixTuning, PromptTuning
from ..model.heads import Classifier
from ..training.optim import AdamW
from .draw import columns, flat, logits
from .entry import EXACT, Differs, equation
from .literal import embed, gradient, language_model, log_p, with_prefix


def task_loss(θ, P, x):
    """ℓ_task(γ, θ_LM, x): the mean of -log p(x_t | x_<t);  γ is P, a prefix of one layer"""
    return -log_p(with_prefix(θ, [P], x[:-1]), x[1:]).mean()


def risk(θ, P, xs):
    """1/n Σ ℓ_task(γ, θ_LM, x_i)"""
    return sum(task_loss(θ, P, x) for x in xs) / len(xs)


def adam(gs, lr, β1=0.9, β2=0.999, ε=1e-8):
    """Σ Δ,  Δ = -lr m̂/(√v̂ + ε),  m ← β₁m + (1 - β₁)g,  v ← β₂v + (1 - β₂)g²,  m₀ = v₀ = 0"""
    Δ = m = v = 0
    for t, g in enumerate(gs, start=1):
        m, v = β1 * m + (1 - β1) * g, β2 * v + (1 - β2) * g**2
        Δ = Δ - lr * (m / (1 - β1**t)) / (np.sqrt(v / (1 - β2**t)) + ε)
    return Δ


def gpt2_size(V, T, d, N):
    """V d + T d + N (12 d² + 9 d + 4 d) + 2 d: embeddings, matrices, biases, norms, last norm"""
    return V * d + T * d + N * (12 * d**2 + 13 * d) + 2 * d


@equation("EQ-ERM")
def empirical_risk(draw):
    """γ_adapt = argmin_{γ∈Γ} 1/n Σ ℓ_task(γ, θ_LM, x_i, y_i)
    Adaptation chapter, §11.1.2 (corrected, X5)"""
    γ = PrefixTuning(draw.size(1, 2))
    model, θ, _, γ = draw.case(γ, layers=1, heads=1, width=4)
    xs = np.stack([draw.words(4, 4) for _ in range(draw.size(1, 3))])
    ((P_key, P_value),), loss = columns(γ), model.loss(xs, xs, γ)
    yield risk(θ, (P_key, P_value), xs), loss.data
    d_key, d_value = grad(loss, γ.parameters())
    yield gradient(lambda P: risk(θ, (P, P_value), xs), P_key), d_key.T
    yield gradient(lambda P: risk(θ, (P_key, P), xs), P_value), d_value.T
    model = draw.model()
    for method in (LoRA(2), Adapter(2), PromptTuning(2), PrefixTuning(2)):
        γ = draw.adaptation(method, model)
        texts = [draw.words(n, n) for n in (2, 5)]
        of_batch, summed, mean_of_means = gradients(model, γ, texts, *draw.padded(texts))
        yield flat(summed), flat(of_batch)
        yield Differs(flat(mean_of_means), flat(of_batch))  # the texts differ in length
        θ_before, γ_before = flat(model.parameters()), flat(γ.parameters())
        AdamW(γ.parameters()).step(of_batch)
        yield θ_before, flat(model.parameters()), EXACT
        yield Differs(γ_before, flat(γ.parameters()))


def gradients(model, γ, texts, ids, mask):
    """Return the gradients of a batch, of Σ loss / labels, and of the mean of mean losses."""
    labels = sum(len(x) - 1 for x in texts)
    gradient_of = lambda *x, **options: grad(model.loss(*x, γ, **options), γ.parameters())
    shares = [gradient_of(x[None], x[None], count=labels) for x in texts]
    means = [gradient_of(x[None], x[None]) for x in texts]
    of_batch = gradient_of(ids, ids, mask=mask)
    return of_batch, [sum(g) for g in zip(*shares)], [sum(g) / len(texts) for g in zip(*means)]


@equation("EQ-FT")
def fine_tuning(draw):
    """Γ = θ_LM and a head;  the first update of a new Adam is -lr · sign(g)
    Adaptation chapter, §11.2.2 (corrected, X10); Kingma & Ba 2015, algorithm 1"""
    model, words = draw.model(), draw.words(shortest=2)
    c, γ = model.config, FullFineTuning().attach(model)
    count = gpt2_size(c.vocabulary, c.length, c.width, c.layers)  # a tied head counts once
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
def zero_weights(draw):
    """θ_LM = 0: a prompt or prefix has no effect;  W_q = W_k = W_v = 0 ≠ W_o: a prefix has one
    Adaptation chapter, §11.2.3.4 (corrected, X11)"""
    k, words = draw.size(1, 4), draw.words()
    prompt, prefix = PromptTuning(k), PrefixTuning(k)
    zero_model, zero_logits = draw.model(zero=""), np.zeros((draw.V, len(words)))
    for method in (prompt, prefix):
        γ = draw.adaptation(method, zero_model)
        yield zero_logits, logits(zero_model, words, γ), EXACT
    # with biases, norms and a head the logits are not 0, and still do not depend on γ
    zero_matrices = r"tokens|\.(q|k|v|o|up|down)\.W"
    model = draw.model(zero=zero_matrices, tied_head=False, positions="none")
    θ = columns(model)
    plain = language_model(θ, embed(θ, words))
    for method in (prompt, prefix):
        yield plain, logits(model, words, draw.adaptation(method, model))
    yield Differs(plain, logits(model, words, draw.adaptation(Adapter(2), model)))
    model = draw.model(zero=r"attn\.[qkv]", positions="none")
    θ, prompt, prefix = columns(model), *(draw.adaptation(m, model) for m in (prompt, prefix))
    plain = language_model(θ, embed(θ, words))
    yield plain, logits(model, words, prompt)
    yield language_model(θ, embed(θ, words), prefix=columns(prefix)), logits(model, words, prefix)
    yield Differs(plain, logits(model, words, prefix))
