"""Search for discrete prompts: Shin et al. 2020; Ebrahimi et al. 2018; Jiang et al. 2020."""

import numpy as np

from ..adaptation.adaptation import parameter
from ..autograd.tensor import grad
from ..methods import PseudoTokens
from ..prompting.autoprompt import first_order
from ..prompting.classifier import PromptClassifier
from ..prompting.mining import middle_words
from .entry import Differs, equation
from .literal import embed, gradient, language_model
from .prompting import case, log_normalized, written


@equation("DS-1")
def replacement(draw):
    """L(…, h_i, …) - L(…, e_w, …) ≈ (h_i - e_w)ᵀ ∂L/∂h_i,  L = -log p(y | x, h)
    Ebrahimi et al. 2018, §3.2; Shin et al. 2020, §2.2"""
    model, θ, tokenizer, x, words = case(draw)
    P, y = draw.size(1, 4), draw.size(0, 2)
    template, E = f"{{x}} [P]*{P} [MASK]", model.tokens.W.data
    prompt = draw.rng.integers(0, draw.V, P)
    prompted = PromptClassifier(model, template, dict(enumerate(map(str, words))), tokenizer)
    γ = PseudoTokens(template).attach(model, draw.rng).map(lambda h: parameter(E[prompt]))
    loss = prompted.loss(*prompted.collate([written(x)], [y])[:2], γ)
    library = first_order(E[prompt], grad(loss, γ.parameters())[0], E)

    def L(H):
        z = language_model(θ, np.hstack([embed(θ, x), H]))[:, -1]
        return -log_normalized(z[words])[y]

    H, W = embed(θ, prompt), θ.tokens.W
    G, falls = gradient(L, H), np.zeros((P, draw.V))
    for i in range(P):
        for w in range(draw.V):
            falls[i, w] = sum((H[d, i] - W[d, w]) * G[d, i] for d in range(len(H)))
    yield falls, library
    yield Differs(-falls, library)
    i, w = draw.size(0, P - 1), draw.size(0, draw.V - 1)
    towards = np.outer(W[:, w] - H[:, i], np.eye(P)[i])
    slope = L(H + 1e-20j * towards).imag / 1e-20  # of the loss from h_i to e_w
    yield -slope, library[i, w]


@equation("DS-2")
def mining(draw):
    """t_r = [X] w_1 … w_n [Y],  for each sentence that has x w_1 … w_n y
    Jiang et al. 2020, §3.1"""
    sentences = [draw.rng.choice([*"abcd"], draw.size(1, 9)).tolist() for _ in range(12)]
    (x, y), longest = draw.rng.permutation([*"abcd"])[:2], draw.size(1, 5)
    sentences.append([x, "e", y])
    counts = {}
    for words in sentences:
        for i, word in enumerate(words):
            if word == x and y in words[i + 1 :]:
                middle = words[i + 1 : words.index(y, i + 1)]
                if 0 < len(middle) <= longest:
                    counts[" ".join(middle)] = counts.get(" ".join(middle), 0) + 1
    found = middle_words([". ".join(map(" ".join, sentences))], str(x), str(y), longest)
    every = sorted({*counts, *found})
    yield [counts.get(middle, 0) for middle in every], [found[middle] for middle in every]
