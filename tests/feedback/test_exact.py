"""PPO and DPO reach π* ∝ π_ref exp(r / β), computed by listing all answers."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.feedback.dpo import DPO
from tests.support.policies import BETA, Enumerated, ppo, trainer

ONE_TOKEN, TWO_TOKENS = Enumerated(4, 1), Enumerated(3, 2)


def improved(case, steps=20, n=384, lr=1e-2, β=BETA, baseline="value", **config):
    """Return a PPO after some steps with n answers each, and the distance of its policy from π*."""
    group = 1 if baseline == "value" else n
    new = case.answers.shape[1]
    config |= {"max_new_tokens": new, "minibatch": n, "beta": β}
    options = {"lr": lr, "steps": steps, "baseline": baseline, "group": group}
    loop = ppo(case.model, case.score, case.eos, **options | config)
    for _ in range(steps):
        loop.step([[0]] * (n // group))
    return loop, case.distance(loop.policy.adaptation, β)


def preferences(case, rng=None, n=100_000):
    """Return targets: how often each answer is preferred to each, or the share of n samples."""
    p = 1 / (1 + np.exp(case.r[None] - case.r[:, None]))  # Bradley-Terry, σ(r_i - r_j)
    if rng:
        p = np.triu(rng.binomial(n, p) / n, 1)
        p = p + np.tril(1 - p.T, -1)
    off = 1 - np.eye(len(p))
    return np.stack([p * off / off.sum(), 0 * p])[None]


def fitted(case, targets, β=BETA, steps=80):
    """Return the distance of the policy from π* after DPO on all answers."""
    training = trainer(DPO(case.model, β), mp.FullFineTuning(), 1e-2, steps)
    loss = lambda rows, γ, s: training.model.loss_at(case.texts[None], targets, γ)
    for _ in range(steps):
        training.update(loss, [np.arange(1)])
    return case.distance(training.adaptation, β)


@pytest.mark.parametrize("case", [ONE_TOKEN, TWO_TOKENS], ids=["1", "2"])
def test_the_optimum_is_another_policy(case):
    assert case.distance(None) > 0.4
    assert np.isclose(case.probabilities().sum(), 1)


@pytest.mark.parametrize("baseline", ["value", "rloo", "grpo"])
def test_ppo_reaches_the_optimum_of_a_bandit(baseline):
    loop, distance = improved(ONE_TOKEN, baseline=baseline)
    assert distance < 0.05
    if loop.value:  # at π* each answer is worth β log Z
        Z = ONE_TOKEN.probabilities() @ np.exp(ONE_TOKEN.r / BETA)
        V = loop.value.model([[0]], loop.value.adaptation).data
        assert abs(V[0, 0] - BETA * np.log(Z)) < 0.05


def test_ppo_reaches_the_optimum_of_two_tokens():
    _, distance = improved(TWO_TOKENS, steps=32, n=512)
    assert distance < 0.05


def test_another_estimator_in_the_penalty_has_another_optimum():
    _, distance = improved(ONE_TOKEN, steps=12, n=256, baseline="rloo", kl="k2")
    assert distance > 0.2


def test_a_large_penalty_keeps_the_reference():
    """From β = 0 to ∞, π* goes from the best answer to π_ref."""
    reference = ONE_TOKEN.probabilities()
    assert abs(ONE_TOKEN.optimum(1e4) - reference).sum() < 1e-3
    assert fitted(ONE_TOKEN, preferences(ONE_TOKEN), β=100.0) < 0.01
    moved = []
    for β in (0.01, 20.0):
        options = {"baseline": "rloo", "group": 256, "minibatch": 256, "beta": β}
        loop = ppo(ONE_TOKEN.model, ONE_TOKEN.score, ONE_TOKEN.eos, lr=3e-3, steps=12, **options)
        for _ in range(12):
            loop.step([[0]])
        moved.append(abs(ONE_TOKEN.probabilities(loop.policy.adaptation) - reference).sum())
    assert moved[0] > 0.8 and moved[1] < 0.2


@pytest.mark.parametrize("case", [ONE_TOKEN, TWO_TOKENS], ids=["1", "2"])
def test_dpo_reaches_the_optimum_of_the_preferences(case):
    assert fitted(case, preferences(case)) < 0.02
    assert fitted(case, preferences(case, np.random.default_rng(0))) < 0.05
