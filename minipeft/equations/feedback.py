"""Human feedback: Ouyang et al. 2022; Ziegler et al. 2019; Schulman et al. 2017; and after them.

π policy   ρ a ratio of probabilities   r, s scores and ranks   A advantages   R returns
What InstructGPT reports of preferences and of toxic answers is no equation: see X6 and X25.
"""

import itertools
import math

import numpy as np

from ..adaptation.adaptation import parameter
from ..autograd.functional import log_probability
from ..autograd.tensor import Tensor, grad
from ..feedback import returns
from ..feedback.demonstrations import Demonstrations
from ..feedback.dpo import DPO
from ..feedback.losses import pairwise_loss, policy_loss, value_loss
from ..feedback.ranking import BestOf, RewardModel, center
from ..feedback.rollout import answer_log_p
from ..methods import PrefixTuning, Probe
from .draw import columns
from .entry import EXACT, Differs, equation
from .literal import (
    answer_log_ps,
    embed,
    gradient,
    hidden_states,
    softmax,
)


def log_σ(x):
    """log σ(x) = -log(1 + exp(-x))"""
    return -np.log(1 + np.exp(-x))


def preferred(s, least=1):
    """D = {(w, l): s_w > s_l} of ranks s, which are integers: two equal ones are no pair"""
    return [(w, l) for w in range(len(s)) for l in range(len(s)) if s[w] - s[l] >= least]


def ranking_loss(r, s, m=0.0, least=1):
    """-1/|D| Σ_{(w,l)∈D} log σ(r_w - r_l - m (s_w - s_l)), its mean over prompts that have pairs"""
    losses = []
    for r_x, s_x in zip(r, s):
        if D := preferred(s_x, least):
            pairs = [log_σ(r_x[w] - r_x[l] - m * (s_x[w] - s_x[l])) for w, l in D]
            losses.append(-sum(pairs) / len(D))
    return sum(losses) / len(losses)


def KL(p, q):
    """KL(p ‖ q) = Σ p log(p/q)"""
    return sum(a * math.log(a / b) for a, b in zip(p, q))


def tilted(π_ref, r, β):
    """π* = π_ref exp(r/β) / Z, and Z"""
    weights = [p * math.exp(score / β) for p, score in zip(π_ref, r)]
    return np.array(weights) / sum(weights), sum(weights)


def discounted(δ, decay):
    """A_t = Σ_l decayˡ δ_{t+l}"""
    L = len(δ)
    return np.array([sum(decay**l * δ[t + l] for l in range(L - t)) for t in range(L)])


def temporal_differences(r, V, γ_):
    """δ_t = r_t + γ V_{t+1} - V_t,  V = 0 after the end"""
    return [r[t] + γ_ * (V[t + 1] if t + 1 < len(V) else 0.0) - V[t] for t in range(len(V))]


def limited(x, low, high):
    """clip(x, low, high)"""
    return min(max(x, low), high)


def clipped_surrogate(ρ, A, ε):
    """max(-A ρ, -A clip(ρ, 1 ± ε))"""
    return max(-A * ρ, -A * limited(ρ, 1 - ε, 1 + ε))


def clipped_error(V, V_old, R, ε):
    """½ max((V - R)², (clip(V, V_old ± ε) - R)²)"""
    return 0.5 * max((V - R) ** 2, (limited(V, V_old - ε, V_old + ε) - R) ** 2)


def padded_rows(draw, rows):
    """Return rows of numbers as an array filled up with random numbers, and its mask."""
    mask = np.arange(max(map(len, rows))) < np.array([[len(row)] for row in rows])
    x = draw.array(*mask.shape)
    x[mask] = np.concatenate(rows)
    return x, mask


def policy(draw, model):
    """Return an adaptation of a model to a policy, a prompt, and all its answers of two tokens."""
    V = model.config.vocabulary
    γ = draw.adaptation(PrefixTuning(draw.size(1, 3)), model)
    x = draw.rng.integers(0, V, draw.size(1, 4))
    return γ, x, [*itertools.product(range(V), repeat=2)]


def library_log_p(model, γ, x, answers):
    """Return the library's log π (N, R) of the tokens of answers to one prompt."""
    ids = np.array([[*x, *y] for y in answers])
    return answer_log_p(model, ids, np.ones(np.shape(answers), bool), γ).data


@equation("RL-1")
def supervised_fine_tuning(draw):
    """-1/U Σ_u log π(y_u | x, y_<u) of demonstrations [x; y];  or the loss of their prompts, too
    Ouyang et al. 2022, §3.5; Adaptation chapter, §11.2.2.3"""
    model = draw.model()
    θ, words = columns(model), lambda: draw.rng.integers(0, draw.V, draw.size(1, 6))
    pairs = [(words(), words()) for _ in range(draw.size(1, 3))]
    answers, whole = (
        model.loss(ids, labels, mask=mask).data
        for ids, labels, mask in (Demonstrations(pairs, only).collate(pairs) for only in (1, 0))
    )
    yield -np.concatenate([answer_log_ps(θ, x, y) for x, y in pairs]).mean(), answers
    texts = [[*x, *y] for x, y in pairs]
    log_ps = [answer_log_ps(θ, z[:1], z[1:]) for z in texts]
    yield -np.concatenate(log_ps).mean(), whole


@equation("RL-2")
def reward_model(draw):
    """-1/C(K,2) E[log σ(r(x, y_w) - r(x, y_l))],  r(x, y) = w · h_last + b
    Ouyang et al. 2022, eq. 1; Adaptation chapter, §11.2.2.3 (corrected, X7); the best of K: Ziegler
    et al. 2019, eq. 1; margins: Touvron et al. 2023b, eq. 2"""
    trunk, B, K, m = draw.model(), draw.size(1, 2), draw.size(3, 4), draw.rng.random()
    model = RewardModel(trunk, margin=m)
    γ, θ = draw.adaptation(Probe(), model), columns(trunk)
    texts = [draw.words() for _ in range(B * K)]
    s = draw.rng.integers(0, K, (B, K))
    s[0, :3] = 0, 0, 1  # a tie and a pair
    ids, mask = (x.reshape(B, K, -1) for x in draw.padded(texts))
    w, b = map(columns, γ.parameters())
    last = [hidden_states(θ, embed(θ, x))[:, [-1]] for x in texts]
    r = np.reshape([w @ h + b for h in last], (B, K))
    yield r, model.scores(ids, γ, mask=mask).data
    loss = model.loss(ids, s, γ, mask=mask).data
    yield ranking_loss(r, s, m), loss
    yield Differs(ranking_loss(r, s, m, least=0), loss)  # ties are no pairs

    weights, leaf = model.targets(s)[:, 0], parameter(r)
    (g,) = grad(pairwise_loss(leaf, weights), [leaf])
    yield gradient(lambda r: ranking_loss(r, s), r), g
    yield np.zeros(B), g.sum(1)
    yield ranking_loss(r, s), pairwise_loss(Tensor(r + draw.array(B, 1)), weights).data
    yield math.log(2), pairwise_loss(Tensor(np.full((B, K), m)), weights).data

    best, of = draw.rng.integers(0, K, B), lambda r, best: softmax(r.T)[best, range(len(best))]
    yield -np.log(of(r, best)).mean(), BestOf(trunk).loss(ids, best, γ, mask=mask).data
    best, Δ = best % 2, r[:, 1] - r[:, 0]
    logistic = -np.mean([log_σ(d if y else -d) for d, y in zip(Δ, best)])  # regression on Δ
    two = slice(None), slice(2)
    yield logistic, BestOf(trunk).loss(ids[two], best, γ, mask=mask[two]).data
    yield logistic, RewardModel(trunk).loss(ids[two], np.eye(2)[best], γ, mask=mask[two]).data

    center(model, γ, *draw.padded(texts))
    yield r - r.mean(), model.scores(ids, γ, mask=mask).data


@equation("RL-3")
def objective(draw):
    """E_π[r - β log(π/π_ref)] = β log Z - β KL(π ‖ π*),  π* = π_ref exp(r/β) / Z
    Ouyang et al. 2022, eq. 2, without its pretraining loss; Adaptation chapter, §11.2.2.3; π* is
    Rafailov et al. 2023, eq. 4"""
    model = draw.model(vocabulary=3)
    γ, x, answers = policy(draw, model)
    θ, P, β = columns(model), columns(γ), 0.3 + draw.rng.random()
    r = draw.array(len(answers))
    log_π = np.array([answer_log_ps(θ, x, y, P) for y in answers])
    log_ref = np.array([answer_log_ps(θ, x, y) for y in answers])
    ours = [library_log_p(model, γ_, x, answers) for γ_ in (γ, None)]
    yield [log_π, log_ref], ours
    mask = np.ones_like(log_π, bool)
    rewards = returns.token_rewards(r, returns.k1(ours[1] - ours[0]), mask, β)
    yield -β * (log_π - log_ref)[:, :-1], rewards[:, :-1]  # the score comes at the end
    yield r - β * (log_π - log_ref).sum(1), rewards.sum(1)
    π, π_ref = (np.exp(log.sum(1)) for log in (log_π, log_ref))
    best, Z = tilted(π_ref, r, β)
    yield β * math.log(Z) - β * KL(π, best), π @ rewards.sum(1)  # so no π exceeds π*
    kl = returns.k1(np.log(π_ref / best))[:, None]  # of an answer as one token
    at_best = returns.token_rewards(r, kl, np.ones_like(kl, bool), β)
    yield np.full(at_best.shape, β * math.log(Z)), at_best  # all answers are worth the same


@equation("RL-4")
def generalized_advantages(draw):
    """A_t = Σ_l (γλ)ˡ δ_{t+l},  δ_t = r_t + γ V_{t+1} - V_t,  V_T = 0
    Schulman et al. 2016, eq. 16"""
    lengths = [draw.size(1, 6) for _ in range(draw.size(1, 3))]
    r, V = ([draw.array(n) for n in lengths] for _ in range(2))
    rs, mask = padded_rows(draw, r)
    Vs, _ = padded_rows(draw, V)
    g, λ = draw.rng.random(2)
    A = [discounted(temporal_differences(*row, g), g * λ) for row in zip(r, V)]
    ours = returns.gae(rs, Vs, mask, g, λ)
    yield np.concatenate(A), ours[mask]
    yield np.zeros(1 + (~mask).sum()), [0.0, *ours[~mask]], EXACT
    returns_ = [discounted(row, 1.0) for row in r]
    yield np.concatenate(returns_) - np.concatenate(V), returns.gae(rs, Vs, mask, 1.0, 1.0)[mask]
    δ = [temporal_differences(*row, g) for row in zip(r, V)]
    yield np.concatenate(δ), returns.gae(rs, Vs, mask, g, 0.0)[mask]


@equation("RL-5")
def proximal_policy_optimization(draw):
    """E[max(-A ρ, -A clip(ρ, 1 ± ε))];  ½ E[max((V - R)², (clip(V, V_old ± ε) - R)²)]
    Schulman et al. 2017, eq. 7; the values: Ziegler et al. 2019, code"""
    rows = [draw.array(draw.size(1, 5)) for _ in range(draw.size(2, 3))]
    rows[0][:1], rows[1][:1] = 1.0, -1.0  # ratios that are clipped for A = 1 and A = -1
    new, mask = padded_rows(draw, rows)
    old, A = 0 * new, draw.array(*new.shape)
    A[0, 0], A[1, 0], ε, n = 1.0, -1.0, 0.2, mask.sum()
    log_π = parameter(new)
    L = policy_loss(log_π, old, A, mask, epsilon=ε)
    ρ, A_ = np.exp(new[mask]), A[mask]
    yield np.mean([clipped_surrogate(*both, ε) for both in zip(ρ, A_)]), L.data
    (g,) = grad(L, [log_π])
    clipped = (A_ > 0) & (ρ > 1 + ε) | (A_ < 0) & (ρ < 1 - ε)
    yield np.zeros(clipped.sum()), g[mask][clipped], EXACT
    yield np.where(clipped, 0.0, -A_ * ρ / n), g[mask]

    z, y = draw.array(*mask.shape, 5), draw.rng.integers(0, 5, mask.shape)
    leaf = parameter(z)
    log_π = log_probability(leaf, y)
    (g,) = grad(policy_loss(log_π, log_π.data, A, mask), [leaf])  # ρ = 1: -A ∇log π
    yield (
        np.array([-a * (np.eye(5)[i] - softmax(c)) / n for a, i, c in zip(A_, y[mask], z[mask])]),
        g[mask],
    )

    V, old, R = new, draw.array(*mask.shape), draw.array(*mask.shape)
    values = [clipped_error(*each, ε) for each in zip(V[mask], old[mask], R[mask])]
    yield np.mean(values), value_loss(Tensor(V), old, R, mask, epsilon=ε).data


@equation("RL-6")
def whitening(draw):
    """(x - m) / √(1/n Σ (x - m)² + 1e-8),  plus m, the mean before the scaling, for rewards
    Ziegler et al. 2019, code"""
    rows = [1.0 + draw.array(draw.size(2, 5)) for _ in range(2)]
    xs, mask = padded_rows(draw, rows)
    x = np.concatenate(rows)
    n, m = len(x), sum(x) / len(x)
    var = sum((x_i - m) ** 2 for x_i in x) / n
    whole, shifted = (returns.whiten(xs, mask, shift_mean=b)[mask] for b in (True, False))
    yield (x - m) / math.sqrt(var + 1e-8), whole
    yield (x - m) / math.sqrt(var + 1e-8) + m, shifted
    yield [0.0, var / (var + 1e-8)], [whole.mean(), whole.var()]
    yield m, shifted.mean()
    yield Differs(x / math.sqrt(var + 1e-8), shifted)  # the mean is not scaled
    yield Differs((x - m) / math.sqrt(var * n / (n - 1) + 1e-8), whole)  # nor is n - 1 the divisor


@equation("RL-7")
def kl_estimators(draw):
    """k₁ = -log ρ,  k₂ = ½ (log ρ)²,  k₃ = ρ - 1 - log ρ,  ρ = π_ref/π;  E_π k₁ = E_π k₃ = KL
    Schulman 2020"""
    z = draw.array(draw.size(2, 7))
    z_ref = z + draw.array(len(z), std=0.1)
    z_ref[0] += 1 + draw.rng.random()
    π, π_ref = softmax(z), softmax(z_ref)
    log_ρ = np.log(π_ref / π)
    k1, k2, k3 = (k(log_ρ) for k in (returns.k1, returns.k2, returns.k3))
    true = KL(π, π_ref)
    yield [-math.log(ρ) for ρ in π_ref / π], k1
    yield [math.log(ρ) ** 2 / 2 for ρ in π_ref / π], k2
    yield [ρ - 1 - math.log(ρ) for ρ in π_ref / π], k3
    yield [true, true], [π @ k1, π @ k3]
    yield Differs(true, π @ k2)
    yield np.zeros(len(z)), np.minimum(k3, 0), EXACT
    # As a penalty of sampled answers, only k₁ has the gradient of the divergence: Σ k ∇π = ∇KL
    slope = gradient(lambda z: (softmax(z) * np.log(softmax(z) / π_ref)).sum(), z)
    yield slope, π * (k1 - π @ k1)
    yield Differs(slope, π * (k3 - π @ k3))


@equation("RL-8")
def adaptive_kl(draw):
    """β ← β (1 + e n / horizon),  e = clip(KL / target - 1, ±0.2)
    Ziegler et al. 2019, §2.2"""
    β, target, KL = 0.1 + draw.rng.random(3)
    n, horizon = draw.size(1, 512), draw.size(1000, 20_000)
    e = limited(KL / target - 1, -0.2, 0.2)
    yield β * (1 + e * n / horizon), returns.adapt_beta(β, KL, n, target, horizon)
    yield β, returns.adapt_beta(β, target, n, target, horizon), EXACT
    yield β * (1 + 0.2 * n / 10_000), returns.adapt_beta(β, 9 * target, n, target)
    yield β * (1 - 0.2 * n / 10_000), returns.adapt_beta(β, -target, n, target)


@equation("RL-9")
def direct_preference_optimization(draw):
    """-log σ(β log(π(y_w|x) / π_ref(y_w|x)) - β log(π(y_l|x) / π_ref(y_l|x)))
    Rafailov et al. 2023, eq. 7"""
    model = draw.model(vocabulary=3)
    γ, x, answers = policy(draw, model)
    θ, P, β = columns(model), columns(γ), 0.1 + draw.rng.random()
    y = [answers[i] for i in draw.rng.permutation(len(answers))[:3]]
    r = β * np.array([(answer_log_ps(θ, x, y_, P) - answer_log_ps(θ, x, y_)).sum() for y_ in y])
    dpo = DPO(model, beta=β)
    loss = lambda rows, s: dpo.loss([[[*x, *y[i]] for i in rows]], [s], γ)
    yield -log_σ(r[0] - r[1]), loss([0, 1], [1, 0]).data
    yield ranking_loss([r], [[2, 0, 1]]), loss([0, 1, 2], [2, 0, 1]).data
    yield math.log(2), dpo.loss([[[*x, *y_] for y_ in y]], [[2, 0, 1]]).data  # π = π_ref
    # Its gradient is -β σ(r_l - r_w) (∇log π(y_w) - ∇log π(y_l)): Rafailov et al. 2023, §4
    log_π = lambda y_: answer_log_p(model, np.array([[*x, *y_]]), np.ones((1, 2), bool), γ)
    ps, ones = γ.parameters(), [np.ones((1, 2))]
    w, l = (grad(log_π(y_), ps, ones) for y_ in y[:2])
    σ = math.exp(log_σ(r[1] - r[0]))
    literal = [-β * σ * (a - b) for a, b in zip(w, l)]
    yield from zip(literal, grad(loss([0, 1], [1, 0]), ps))


@equation("RL-10")
def group_baselines(draw):
    """A_i = (r_i - mean r) / std r;  A_i = r_i - 1/(G-1) Σ_{j≠i} r_j
    Shao et al. 2024, §4.1.2; Ahmadian et al. 2024; 1e-4 is added to std r"""
    G, r = draw.size(2, 6), draw.array(3, 6)
    r = r[:, :G]
    mean = [sum(row) / G for row in r]
    std = [math.sqrt(sum((x - m) ** 2 for x in row) / G) for row, m in zip(r, mean)]
    yield [(row - m) / (s + 1e-4) for row, m, s in zip(r, mean, std)], returns.grpo(r)
    others = [[sum(row[j] for j in range(G) if j != i) / (G - 1) for i in range(G)] for row in r]
    yield r - others, returns.rloo(r)
    for baseline in (returns.grpo, returns.rloo):
        yield np.zeros(3), baseline(r).sum(1)
        yield np.zeros((1, G)), baseline(np.full((1, G), r[0, 0])), 1e-11
