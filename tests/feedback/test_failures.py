"""A step of PPO that fails changes nothing; unusual answers are learned from like others."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.feedback.ppo import PPO
from minipeft.feedback.ppo_config import PPOConfig
from minipeft.feedback.ranking import RewardModel
from minipeft.training.trainer import NonFinite
from tests.feedback.test_ppo import EOS, GROUP, PROMPTS, count_even, made, state
from tests.support.policies import trainer
from tests.support.trainings import DECODER, V, numbers


def spoil_score(loop):
    loop.score = lambda ids, mask: np.where(np.arange(len(ids)) == 1, np.nan, 1.0)


def spoil_value(loop):
    loop.value.adaptation.at["score"]["b"].data[...] = np.inf


def spoil_ratio(loop):
    """The second minibatch meets a policy that has moved too far."""
    loop.policy.optimizer.lr = 1e30


def spoil_gradient(loop):
    loop.value.optimizer.lr = 1e30


def spoil_observation(loop):
    loop.observe = lambda answers: {"share": 1 / 0}


def spoil_pretraining(loop):
    def text(rng):
        loop.texts = getattr(loop, "texts", 0) + 1
        if loop.texts > 2:
            raise OSError("the text ended")
        return np.ones((2, 5), int), np.ones((2, 5), int)

    loop.pretraining = text


@pytest.mark.parametrize(
    "spoil, error, message",
    [
        (spoil_score, NonFinite, "step 1: score is not finite; nothing was changed"),
        (spoil_value, NonFinite, "step 1: V is not finite"),
        (spoil_ratio, NonFinite, "step 1: ratio is not finite"),
        (spoil_gradient, NonFinite, "the gradient is not finite at"),
        (spoil_observation, ZeroDivisionError, "by zero"),
        (spoil_pretraining, OSError, "the text ended"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_step_that_fails_names_its_tensor_and_changes_nothing(spoil, error, message):
    options = {"pretraining": lambda rng: (np.ones((2, 5), int), np.ones((2, 5), int))}
    loop = made(ptx=0.5, kl_target=0.1, options=options)
    loop.step(PROMPTS)
    spoil(loop)
    before = state(loop)
    with pytest.raises(error, match=message):
        loop.step(PROMPTS)
    assert state(loop) == before


def test_a_step_after_a_failed_one_has_the_bits_of_one_without():
    ends = []
    for fails in (False, True):
        loop = made()
        loop.step(PROMPTS)
        if fails:
            spoil_score(loop)
            with pytest.raises(NonFinite):
                loop.step(PROMPTS)
            loop.score = count_even
        loop.step(PROMPTS)
        ends.append(state(loop))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("returned", [0.0, [[1.0]] * 4, [1.0, 2.0]])
def test_scores_of_another_shape_are_refused(returned):
    with pytest.raises(ValueError, match=r"for 4 texts: it must return one number for each"):
        made(lambda ids, mask: returned).step(PROMPTS)


def only(token):
    """Return a decoder that always says one token."""
    model = mp.Decoder(mp.Config(V, 16, 1, 2, 40, tied_head=False), np.random.default_rng(0))
    last = {id(model.ln.g): 0 * model.ln.g.data, id(model.ln.b): 1 + 0 * model.ln.b.data}
    last[id(model.head.W)] = np.where(np.arange(V) == token, 9.0, 0.0) + 0 * model.head.W.data
    return model.map(lambda t: mp.Tensor(last.get(id(t), t.data).astype(np.float32)))


@pytest.mark.parametrize("config", [{}, GROUP], ids=["value", "rloo"])
@pytest.mark.parametrize("token, length, ended", [(EOS[0], 1, 1.0), (3, 5, 0.0)])
def test_empty_answers_and_answers_without_an_end_are_learned_from(config, token, length, ended):
    loop = made(model=only(token), missing_eos_penalty=2.0, **config)
    stats = [loop.step(PROMPTS) for _ in range(2)]
    assert (stats[0]["length"], stats[0]["ended"]) == (length, ended)
    even = [sum(token % 2 == 0 for token in prompt) for prompt in PROMPTS]
    assert np.isclose(stats[0]["score"], np.mean(even) - 2 * (1 - ended))
    assert all(np.isfinite([*row.values()]).all() for row in stats)


@pytest.mark.parametrize("config", [{}, {"baseline": "rloo"}, {"baseline": "grpo"}])
def test_equal_rewards_and_a_single_prompt_are_learned_from(config):
    group = 2 if config else 1
    loop = made(lambda ids, mask: np.ones(len(ids)), group=group, beta=0.0, **config)
    before = numbers(loop.policy)[1]
    stats = loop.step([[3]])
    assert all(np.isfinite([*stats.values()])) and stats["score"] == 1
    if config:
        assert abs(stats["loss"]) < 1e-6  # no answer is better than another
        parameters = len(loop.policy.optimizer.parameters)
        assert before[:parameters] == numbers(loop.policy)[1][:parameters]


def test_prompts_must_have_tokens():
    for prompts in ([], [[1], []]):
        with pytest.raises(ValueError, match="give each at least one token"):
            made().step(prompts)


@pytest.mark.parametrize(
    "field",
    [
        {"beta": -0.1},
        {"beta": None},
        {"beta": "0.1"},
        {"gamma": 1.1},
        {"temperature": 0.0},
        {"epochs": 0},
        {"epochs": 1.5},
        {"minibatch": 0},
        {"kl_target": 0.0},
        {"epsilon": np.nan},
        {"ptx": np.inf},
        {"kl": "k4"},
        {"baseline": "mean"},
        {"baseline": "rloo"},  # one answer to each prompt
    ],
)
def test_settings_out_of_range_are_refused_by_name(field):
    (name,) = field
    with pytest.raises(ValueError, match=f"{name}="):
        PPOConfig(**field)


def test_parts_that_do_not_fit_are_refused():
    policy, headed = trainer(DECODER, mp.LoRA()), trainer(RewardModel(DECODER), mp.Probe())
    c = PPOConfig(**GROUP)
    with pytest.raises(TypeError, match="policy must train a Decoder, not a RewardModel"):
        PPO(headed, count_even, EOS, config=c)
    with pytest.raises(TypeError, match="value must train a ValueModel, not a RewardModel"):
        PPO(policy, count_even, EOS, value=headed)
    with pytest.raises(ValueError, match="baseline='value' needs a value network"):
        PPO(policy, count_even, EOS)
    with pytest.raises(ValueError, match="the others have none"):
        PPO(policy, count_even, EOS, value=headed, config=c)
    with pytest.raises(ValueError, match="needs pseudo-tokens in each prompt"):
        PPO(trainer(DECODER, mp.PTuning("[P] {x}")), count_even, EOS, config=c)
    with pytest.raises(ValueError, match="needs pretraining"):
        PPO(policy, count_even, EOS, config=PPOConfig(ptx=1.0, **GROUP))
