"""Instruction tuning and T-Few: Raffel et al. 2020; Wei et al. 2022; Sanh et al. 2022."""

import numpy as np

from ..adaptation.adaptation import parameter
from ..autograd.tensor import grad
from ..methods import PrefixTuning
from ..methods.template import Template
from ..prompting import tfew
from ..prompting.classifier import PromptClassifier
from ..prompting.instructions import Prompt, PromptedTask, collate_choices
from ..prompting.mixture import Mixture, hold_out, mixing_rates
from ..prompting.tfew import TFew
from ..prompting.verbalizer import Verbalizer
from .draw import columns
from .entry import EXACT, Differs, equation
from .literal import answer_log_ps, gradient, softmax
from .prompting import number_tokenizer, written


def rates(e, K):
    """r_m = min(e_m, K) / Σ_n min(e_n, K)"""
    return [min(e_m, K) / sum(min(e_n, K) for e_n in e) for e_m in e]


def mean_log_p(log_p):
    """β = 1/T Σ_t log p(y_t | x, y_<t)"""
    return sum(log_p) / len(log_p)


def unlikelihood(wrong, ε):
    """-Σ_n Σ_t log(1 - p(ŷ_t | x, ŷ_<t) + ε) / Σ_n T_n"""
    terms = [np.log(1 - np.exp(log_p) + ε) for answer in wrong for log_p in answer]
    return -sum(terms) / sum(map(len, wrong))


def length_normalized(answers):
    """-log(exp β(x, y) / (exp β(x, y) + Σ_n exp β(x, ŷ_n)))"""
    scores = [np.exp(mean_log_p(answer)) for answer in answers]
    return -np.log(scores[0] / sum(scores))


def t_few(answers, ε=1e-2):
    """L_LM + L_UL + L_LN of log p of the tokens of each answer, the right one first"""
    right, *wrong = answers
    return -mean_log_p(right) + unlikelihood(wrong, ε) + length_normalized(answers)


def split(log_p, lengths):
    """The first tokens of each row"""
    return [row[:n] for row, n in zip(log_p, lengths)]


@equation("MT-1")
def mixing(draw):
    """r_m = min(e_m, K) / Σ_n min(e_n, K) for tasks with e_m examples
    Raffel et al. 2020, §3.5.2; K = 3,000: Wei et al. 2022"""
    M, K = draw.size(2, 6), draw.size(1, 3000)
    e = draw.rng.integers(1, 6000, M)
    yield rates(e.tolist(), K), mixing_rates(e, K)
    yield np.full(M, 1 / M), mixing_rates(K + e, K)  # all have more: uniform
    e[:2] = 1, 2 * K + 1  # one has more
    yield Differs(e / e.sum(), mixing_rates(e, K))
    e = np.minimum(e, K)
    yield e / e.sum(), mixing_rates(e, K)  # none has more: all examples are equally likely


@equation("MT-2")
def held_out_cluster(draw):
    """r_m / (1 - Σ_{n∈C} r_n) for tasks m ∉ C, and 0 for m ∈ C: a whole cluster C is held out
    Wei et al. 2022"""
    M, K, prompts = draw.size(3, 6), draw.size(1, 9), [Prompt(Template("{x} [MASK]"))]
    e, cluster = draw.rng.integers(1, 12, M), [0, 1, *draw.rng.integers(0, 3, M - 2)]
    example = lambda m, i: {"x": f"text {i} of task {m}", "answer": "yes"}
    tasks = {
        m: PromptedTask(f"cluster {cluster[m]}", prompts, [example(m, i) for i in range(e[m])])
        for m in range(M)
    }
    mixture = Mixture(tasks, K)
    r, held = rates(e.tolist(), K), [c == 0 for c in cluster]
    yield r, mixture.rates
    left = 1 - sum(r_m for r_m, is_held in zip(r, held) if is_held)
    seen, unseen = hold_out(tasks, "cluster 0")
    rest = Mixture(seen, K, held_out=unseen)
    yield [r_m / left for r_m, is_held in zip(r, held) if not is_held], rest.rates
    drawn = [rest.draw(draw.rng)[0].cluster for _ in range(20)]
    yield 0.0, sum(c == "cluster 0" for c in drawn), EXACT
    yield Differs([r_m for r_m, is_held in zip(r, held) if not is_held], rest.rates)


@equation("MT-3")
def rank_classification(draw):
    """p(k | x) = exp Σ_t log p(y_t | x, y_<t) / Σ_k' of the options y_k;  the highest one wins
    Sanh et al. 2022; without the length of an option, unlike L_LN: Liu et al. 2022, §3.2"""
    model, words = draw.model(), draw.rng.permutation(draw.V - 1)
    θ, n = columns(model), draw.size(1, 4)
    x, options = words[:n], [words[n : n + 1], words[n + 1 : n + 3], words[n + 3 : n + 6]]
    log_p = [answer_log_ps(θ, x, y) for y in options]
    answers = {k: written(y) for k, y in enumerate(options)}
    for tokens, score in (("product", sum), ("normalized", mean_log_p)):
        classifier = PromptClassifier(
            model, "{x} [MASK]", Verbalizer(answers, tokens=tokens), number_tokenizer(draw.V)
        )
        scores = np.array([score(row) for row in log_p])
        library = classifier.log_probabilities([written(x)])[0]
        yield np.log(softmax(scores)), library
        yield scores.argmax(), classifier.predict([written(x)])[0], EXACT
    yield Differs(np.log(softmax(np.array([sum(row) for row in log_p]))), library)


@equation("MT-4")
def t_few_loss(draw):
    """L_LM + L_UL + L_LN,  L_UL = -Σ_n Σ_t log(1 - p(ŷ_t | x, ŷ_<t) + ε) / Σ_n T_n,  L_LN: of β
    Liu et al. 2022, §3.2; ε = 0.01 is in the code alone"""
    model, B, K = draw.model(), draw.size(1, 3), draw.size(2, 4)
    γ, θ = draw.adaptation(PrefixTuning(draw.size(1, 3)), model), columns(model)
    rows = [(draw.words(), [draw.words(1, 4) for _ in range(K)]) for _ in range(B)]
    log_p = [[answer_log_ps(θ, x, y, columns(γ)) for y in answers] for x, answers in rows]
    ids, labels, mask = collate_choices(model, rows)
    yield sum(map(t_few, log_p)) / B, TFew(model).loss(ids, labels, γ, mask=mask).data

    lengths = [draw.size(1, 4) for _ in range(K)]
    z = np.log(draw.rng.uniform(0.01, 0.99, (K, max(lengths))))
    real = (np.arange(max(lengths)) < np.array(lengths)[:, None])[None]
    answers, leaf = split(z, lengths), parameter(np.where(real, z, 0.0))
    yield -mean_log_p(answers[0]), tfew.likelihood_loss(leaf, real).data[0]
    yield length_normalized(answers), tfew.length_normalized_loss(leaf, real).data[0]
    for ε in (0.0, 0.01):
        yield unlikelihood(answers[1:], ε), tfew.unlikelihood_loss(leaf, real, ε).data[0]
    default = tfew.unlikelihood_loss(leaf, real)
    yield Differs(unlikelihood(answers[1:], 0.0), default.data[0])
    for literal, loss in (
        (lambda z: unlikelihood(split(z, lengths)[1:], 0.01), default),
        (lambda z: length_normalized(split(z, lengths)), tfew.length_normalized_loss(leaf, real)),
    ):
        yield gradient(literal, z)[None], grad(loss, [leaf], [np.ones(1)])[0]
