"""Human feedback on a device: the same numbers as on the host."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.backend import host
from minipeft.feedback.dpo import DPO
from minipeft.feedback.ranking import RewardModel, center
from tests.support import device
from tests.support.policies import ppo, trainer
from tests.support.trainings import DECODER, V


def ranked(network, model, method):
    """Return the losses and the parameters after two steps on ranked answers."""
    ids = np.random.default_rng(0).integers(0, V, (2, 3, 6))
    training = trainer(network(model), method)
    losses = [training.step(ids, np.tile(np.arange(3), (2, 1))) for _ in range(2)]
    if network is RewardModel:
        center(training.model, training.adaptation, ids[:, 0])
    return losses, training.adaptation


def improved(model, baseline):
    """Return the statistics and the policy after two steps of PPO on scores of a reward model."""
    reward = RewardModel(model)
    γ = mp.Probe().attach(reward)
    γ.at["score"]["W"].data[:3] += 1
    score = lambda ids, mask: reward(ids, γ, mask=mask).data
    loop = ppo(model, score, [7, 8], max_new_tokens=5, group=2, baseline=baseline)
    stats = [[*loop.step([[3, 1], [4], [1, 5, 9]]).values()] for _ in range(2)]
    return stats, loop.policy.adaptation


RUNS = {
    "dpo": lambda model: ranked(DPO, model, mp.FullFineTuning()),
    "reward": lambda model: ranked(RewardModel, model, mp.Chain(mp.BitFit(), mp.Probe())),
    "value": lambda model: improved(model, "value"),
    "rloo": lambda model: improved(model, "rloo"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_device_gives_the_numbers_of_the_host(name):
    (a, γ), (b, δ) = RUNS[name](DECODER), RUNS[name](DECODER.to(device.name))
    assert np.allclose(a, b, atol=1e-5)
    pairs = zip(γ.parameters(), δ.parameters(), strict=True)
    assert all(np.allclose(p.data, host(q.data), atol=1e-4) for p, q in pairs)
