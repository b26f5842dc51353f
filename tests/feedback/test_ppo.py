"""PPO: what a step does, what it refuses, and that a step that fails changes nothing."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.feedback.dpo import DPO
from minipeft.feedback.ranking import RewardModel
from minipeft.feedback.rollout import answer_log_p, sample
from tests.support.families import METHODS
from tests.support.policies import ppo, trainer
from tests.support.trainings import DECODER, V, numbers

PROMPTS = [[3, 1, 4], [1, 5], [9, 2, 6, 5], [3]]
EOS = [7, 8]
NO_TEMPLATE = [name for name in METHODS if name != "plain" and METHODS[name]().template == "{x}"]
GROUP = {"baseline": "rloo", "group": 2}


def count_even(ids, mask):
    """Return how many tokens of each text are even: some score."""
    return ((ids % 2 == 0) & (mask != 0)).sum(1).astype(float)


def made(score=count_even, model=DECODER, **options):
    return ppo(model, score, EOS, **{"max_new_tokens": 5, "minibatch": 3} | options)


def state(loop):
    """Return the numbers of all trainers, and of the PPO itself."""
    return loop.t, loop.beta, [numbers(t) for t in loop.trainers.values()]


def test_answers_end_at_their_first_end_of_text():
    answers = sample(DECODER, PROMPTS * 20, eos=EOS, rng=np.random.default_rng(0), max_new_tokens=6)
    R = answers.real.shape[1]
    assert answers.ids.shape == (80, 4 + R) and answers.ended.any() and not answers.ended.all()
    for n, (ids, text) in enumerate(zip(answers.ids, answers.texts())):
        prompt = PROMPTS[n % 4]
        assert ids[:-R][answers.mask[n, :-R]].tolist() == prompt and answers.mask[n, -R - 1]
        new = ids[-R:][answers.real[n]].tolist()
        assert new == text + new[len(text) :] and not {*EOS} & {*text}
        assert answers.ended[n] == (new[-1] in EOS) == (len(new) == len(text) + 1)
        assert answers.ended[n] or len(text) == R
    assert np.array_equal(answers.mask[:, -R:], answers.real)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_each_text_alone(temperature):
    rng = np.random.default_rng(0)
    answers = sample(DECODER, PROMPTS, eos=EOS, rng=rng, max_new_tokens=5)
    got = answer_log_p(
        DECODER, answers.ids, answers.real, mask=answers.mask, temperature=temperature
    ).data
    for n, prompt in enumerate(PROMPTS):
        new = answers.ids[n, -answers.real.shape[1] :][answers.real[n]]
        z = DECODER([[*prompt, *new]]).data[0, len(prompt) - 1 : -1] / temperature
        log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
        alone = log_p[np.arange(len(new)), new]
        assert np.allclose(got[n][answers.real[n]], alone, atol=1e-5)
        assert not got[n][~answers.real[n]].any()


def test_values_come_before_each_token():
    loop = made()
    loop.step(PROMPTS)
    answers = sample(DECODER, PROMPTS, eos=EOS, rng=np.random.default_rng(0), max_new_tokens=5)
    γ = loop.value.adaptation
    V = loop.values(answers, γ).data
    for n, prompt in enumerate(PROMPTS):
        new = answers.ids[n, -answers.real.shape[1] :][answers.real[n]]
        alone = loop.value.model([[*prompt, *new]], γ).data[0, len(prompt) - 1 : -1]
        assert np.allclose(V[n][answers.real[n]], alone, atol=1e-5)


def test_the_base_and_the_reward_model_are_unchanged():
    reward = RewardModel(DECODER)
    γ = mp.Probe().attach(reward)
    parts = [*DECODER.parameters(), *reward.parameters(), *γ.parameters()]
    before = [t.data.copy() for t in parts]
    loop = made(lambda ids, mask: reward(ids, γ, mask=mask).data + count_even(ids, mask))
    start = state(loop)
    for _ in range(2):
        loop.step(PROMPTS)
    assert all(np.array_equal(x, t.data) for x, t in zip(before, parts))
    assert loop.t == 2 and start[2] != state(loop)[2]


def test_the_reference_is_the_model_without_an_adaptation():
    loop = made()
    loop.step(PROMPTS)
    γ = loop.policy.adaptation
    answers = sample(DECODER, PROMPTS, γ, eos=EOS, rng=np.random.default_rng(0), max_new_tokens=5)
    rollout = loop.rollout(answers, np.ones(4))
    for log_p, adaptation in ((rollout.log_p, γ), (rollout.log_ref, None)):
        one = answer_log_p(DECODER, answers.ids, answers.real, adaptation, mask=answers.mask).data
        assert np.allclose(log_p, one, atol=1e-5)
    assert abs(rollout.log_p - rollout.log_ref).max() > 1e-3


def test_the_first_ratio_is_1_and_statistics_are_of_the_answers():
    loop = made(epochs=1, minibatch=4, missing_eos_penalty=100.0)
    stats = loop.step(PROMPTS)
    assert stats["clipped"] == 0 and abs(stats["kl"]) < 1e-5 and stats["beta"] == loop.beta
    assert 1 <= stats["length"] <= 5 and -100 <= stats["score"] < 5
    assert (stats["score"] < -20) == (stats["ended"] < 0.8)


@pytest.mark.parametrize("config", [{}, GROUP])
def test_shards_are_the_whole_batch(config):
    ends = []
    for parts in (1, 3):
        loop = made(epochs=1, **config)
        for t in loop.trainers.values():
            t.micro_batches = parts
        stats = [loop.step(PROMPTS) for _ in range(2)]
        arrays = [p.data for t in loop.trainers.values() for p in t.adaptation.parameters()]
        ends.append(([*map(list, map(dict.values, stats))], arrays))
    assert np.allclose(ends[0][0], ends[1][0], atol=1e-4)
    assert all(np.allclose(a, b, atol=2e-4) for a, b in zip(ends[0][1], ends[1][1]))


def test_the_pretraining_loss_is_added():
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(0, V, (2, 6)), np.arange(6) < [[6], [4]]
    text = ids, ids, mask

    def loss(ptx, parts=1):
        options = {"options": {"pretraining": lambda rng: text}}
        loop = made(epochs=1, minibatch=8, ptx=ptx, **GROUP, **options if ptx else {})
        loop.policy.micro_batches = parts
        return loop.step(PROMPTS)["loss"], loop

    (without, _), (one, a), (three, b) = loss(0.0), loss(2.0), loss(2.0, 3)  # one shard has no text
    assert np.isclose(one - without, 2 * float(DECODER.loss(ids, ids, mask=mask)), rtol=1e-5)
    assert np.isclose(one, three, rtol=1e-5)
    parameters = zip(a.policy.adaptation.parameters(), b.policy.adaptation.parameters())
    assert all(np.allclose(p.data, q.data, atol=2e-4) for p, q in parameters)


def test_beta_follows_the_divergence():
    loop = made(kl_target=0.5, kl_horizon=100)
    before = loop.beta
    stats = [loop.step(PROMPTS) for _ in range(2)]
    assert np.isclose(stats[1]["beta"], before * (1 - 0.2 * 4 / 100))  # the first KL is 0
    assert loop.beta != stats[1]["beta"]
    assert made().beta == before


@pytest.mark.parametrize("name", NO_TEMPLATE)
def test_any_method_is_a_policy(name):
    """One step of PPO and one of DPO are finite, and change parameters of every method."""
    method = METHODS[name]()
    loop, training = made(method=method, epochs=1, **GROUP), trainer(DPO(DECODER), method)
    before = [p.data.copy() for p in loop.policy.adaptation.parameters()]
    assert all(np.isfinite(x) for x in loop.step(PROMPTS).values())
    rng = np.random.default_rng(0)
    ids, ranks = rng.integers(0, V, (2, 3, 6)), np.tile(np.arange(3), (2, 1))
    assert np.isfinite(training.step(ids, ranks))
    for one in (loop.policy, training):
        assert one.norm > 0
        now = one.adaptation.parameters()
        assert any(not np.array_equal(x, p.data) for x, p in zip(before, now, strict=True))
