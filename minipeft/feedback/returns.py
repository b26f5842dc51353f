"""Rewards, KL estimates and advantages of sampled answers: pure functions of arrays.

N answers   T tokens of an answer.  mask (N, T): True at the tokens of the answer, up to and
including the end-of-text token; all other numbers are ignored.
"""

import numpy as np


def k1(log_ratio):
    """-log ρ,  ρ = π_ref / π        Schulman 2020, http://joschu.net/blog/kl-approx.html

    The KL divergence here is KL(π ‖ π_ref), of the policy from the reference: answers are sampled
    from the policy, so its mean over them is the divergence.  It is large where the policy says
    what the reference would not.  A divergence is never negative, but this estimate of it is for
    every token that is less likely under the policy than under the reference; over few samples its
    mean may be, too.

    log_ratio: log π_ref - log π of the sampled tokens.
    """
    return -log_ratio


def k2(log_ratio):
    """½ (log ρ)²: biased, of less variance        Schulman 2020"""
    return 0.5 * log_ratio**2


def k3(log_ratio):
    """ρ - 1 - log ρ: unbiased like k1, and never negative        Schulman 2020"""
    return np.expm1(log_ratio) - log_ratio


KL_ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def token_rewards(score, kl, mask, beta: float):
    """-β kl_t, plus the score at the last token        Ouyang et al. 2022, §3.5

    A score is of a whole answer, so it comes when the answer is complete: at its last token.  The
    earlier tokens get their share of it by the advantages, not by the reward.  The KL penalty is
    known at each token.  With k1 the sum over the tokens is score - β log(π(y|x) / π_ref(y|x)).

    score (N,)   kl (N, T): an estimate of the divergence at each token, such as k1
    """
    r = np.where(mask, -beta * kl, 0.0)
    r[np.arange(len(r)), mask.sum(1) - 1] += score
    return r


def gae(r, V, mask, gamma: float = 1.0, lam: float = 0.95):
    """A_t = Σ_l (γλ)^l δ_t+l,  δ_t = r_t + γ V_t+1 - V_t        Schulman et al. 2016, eq. 16

    V after the last token is 0.  The return is A + V.
    """
    r, V = np.where(mask, r, 0.0), np.where(mask, V, 0.0)
    A, after = np.zeros_like(V), np.zeros(len(V), V.dtype)
    V_next = np.zeros(len(V), V.dtype)
    for t in reversed(range(V.shape[1])):
        after = r[:, t] + gamma * V_next - V[:, t] + gamma * lam * after
        A[:, t], V_next = after, V[:, t]
    return np.where(mask, A, 0.0)


def whiten(x, mask, shift_mean: bool = True):
    """(x - m) / √(var x + 1e-8), of the mean m; plus m if not shift_mean        Ziegler et al. 2019

    The variance is that of the population, as in OpenAI's code; TRL divides by n - 1.
    """
    m, var = x[mask].mean(), x[mask].var()
    whitened = (x - m) / np.sqrt(var + 1e-8)
    return np.where(mask, whitened if shift_mean else whitened + m, 0.0)


def adapt_beta(beta: float, kl: float, n: int, target: float, horizon: int = 10_000) -> float:
    """β (1 + K e),  e = clip(KL / target - 1, ±0.2)        Ziegler et al. 2019, §2.2

    K = n / horizon, as in their code.  kl: the mean KL(π ‖ π_ref) of n answers.
    """
    return beta * (1 + float(np.clip(kl / target - 1, -0.2, 0.2)) * n / horizon)


# -- baselines of a group: G answers to each prompt, in place of a value network


def grpo(score):
    """A_i = (r_i - mean r) / (std r + 1e-4)        Shao et al. 2024, §4.1.2        score (…, G)

    1e-4 is TRL's; with it, the advantages of equal scores are 0.  The std is the population's, in
    TRL that of a sample.  In PPO the KL penalty is part of r, and the loss is a mean over all
    tokens; Shao et al. add k3 to the loss, and average over each answer first.
    """
    return (score - score.mean(-1, keepdims=True)) / (score.std(-1, keepdims=True) + 1e-4)


def rloo(score):
    """A_i = r_i - the mean of the other r        Ahmadian et al. 2024        score (…, G)

    In PPO the ratio is of tokens and is clipped; theirs is REINFORCE, one step on whole answers.
    """
    G = score.shape[-1]
    return (score - score.mean(-1, keepdims=True)) * (G / (G - 1))


BASELINES = {"grpo": grpo, "rloo": rloo}
