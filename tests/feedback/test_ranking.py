"""Reward models and DPO: the ranks, the pairs of answers, the number of forward passes."""

from functools import partial

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.tensor import grad
from minipeft.feedback.dpo import DPO
from minipeft.feedback.ranking import BestOf, RewardModel, ValueModel, center
from tests.support.gradcheck import differences
from tests.support.policies import trainer
from tests.support.trainings import DECODER, V

B, K, T = 3, 4, 7
DPO_METHOD, HEADED = mp.LoRA(rank=2), mp.Chain(mp.LoRA(rank=2), mp.Probe())
BOTH = pytest.mark.parametrize(
    "model, method",
    [(RewardModel(DECODER, 0.1), HEADED), (DPO(DECODER, 0.3, 0.1), DPO_METHOD)],
    ids=["reward", "dpo"],
)


def random(adaptation, seed=2):
    """Return a copy of an adaptation with random numbers."""
    rng = np.random.default_rng(seed)
    return adaptation.map(lambda p: mp.Tensor(rng.normal(0, 0.5, p.shape), requires_grad=True))


def attached(model, method, dtype=np.float32):
    γ = random(method.attach(model, np.random.default_rng(0)))
    return γ.map(lambda p: mp.Tensor(p.data.astype(dtype), requires_grad=True))


def batch(seed=0, K=K):
    """Return ids, mask (B, K, T) of prompts of 2 tokens with answers, and ranks with some ties."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, V, (B, K, T))
    ids[..., :2] = ids[:, :1, :2]
    mask = np.arange(T) < rng.integers(3, T + 1, (B, K, 1))
    ranks = rng.integers(0, 3, (B, K))
    ranks[:, :2] = 0, 1
    return ids, mask, ranks


def in_float64(model):
    return model.map(lambda t: mp.Tensor(t.data.astype(float)))


class Watched(RewardModel):
    """A reward model that counts the texts that its trunk reads."""

    read = 0

    def run(self, inputs, *args):
        self.read += len(inputs.ids)
        return super().run(inputs, *args)


def test_every_answer_is_read_once():
    model = Watched(DECODER)
    ids, mask, ranks = batch()
    model.loss(ids, np.tile(np.arange(K), (B, 1)), attached(model, HEADED), mask=mask)
    assert model.read == B * K < B * K * (K - 1) / 2


@BOTH
def test_the_loss_is_the_mean_over_prompts_of_the_mean_over_pairs(model, method):
    ids, mask, ranks = batch()
    γ = attached(model, method)
    r = model.scores(ids, γ, mask=mask).data.astype(float)
    expected = []
    for row, s in zip(r, ranks):
        pairs = [(w, l) for w in range(K) for l in range(K) if s[w] > s[l]]
        losses = [np.log1p(np.exp(row[l] - row[w] + 0.1 * (s[w] - s[l]))) for w, l in pairs]
        expected.append(np.mean(losses))
    loss = float(model.loss(ids, ranks, γ, mask=mask))
    assert np.isclose(loss, np.mean(expected), rtol=1e-5)
    assert loss == float(model.loss(ids, ranks * 1.0, γ, mask=mask))


@BOTH
def test_a_prompt_whose_answers_are_equal_is_left_out(model, method):
    ids, mask, ranks = batch()
    γ = attached(model, method)
    ranks[1] = 2
    rest = [0, 2]
    whole = model.loss(ids, ranks, γ, mask=mask)
    assert np.isclose(float(whole), float(model.loss(ids[rest], ranks[rest], γ, mask=mask[rest])))
    with pytest.raises(ValueError, match="all answers to each prompt have equal ranks"):
        model.loss(ids[1:2], ranks[1:2], γ)


@BOTH
def test_padding_and_the_order_of_answers_change_nothing(model, method):
    ids, mask, ranks = batch()
    γ = attached(model, method)
    r = model.scores(ids, γ, mask=mask).data
    wide = np.pad(ids, ((0, 0), (0, 0), (0, 3)), constant_values=5)
    more = np.pad(mask, ((0, 0), (0, 0), (0, 3)))
    assert np.allclose(r, model.scores(wide, γ, mask=more).data, atol=1e-5)
    front = np.pad(ids, ((0, 0), (0, 0), (3, 0))), np.pad(mask, ((0, 0), (0, 0), (3, 0)))
    assert np.allclose(r, model.scores(front[0], γ, mask=front[1]).data, atol=1e-5)
    order = [2, 0, 3, 1]
    again = model.scores(ids[:, order], γ, mask=mask[:, order]).data
    assert np.allclose(r[:, order], again, atol=1e-5)


@BOTH
def test_the_gradient_is_the_derivative(model, method):
    model = in_float64(model)
    γ, (ids, mask, ranks) = attached(model, method, float), batch()
    ps, rng = γ.parameters(), np.random.default_rng(1)
    vs = [rng.standard_normal(p.shape) for p in ps]

    def moved(t):
        new = {id(p): mp.Tensor(p.data + t * v) for p, v in zip(ps, vs)}
        return float(model.loss(ids, ranks, γ.map(lambda p: new[id(p)]), mask=mask))

    gs = grad(model.loss(ids, ranks, γ, mask=mask), ps)
    found = sum((g * v).sum() for g, v in zip(gs, vs))
    assert np.isclose(found, differences(moved, 1e-3), rtol=1e-7, atol=1e-10)


@BOTH
def test_shards_are_the_whole_batch_and_the_base_is_unchanged(model, method):
    ids, mask, ranks = batch()
    ranks[0] = 1
    before = [t.data.copy() for t in model.parameters()]
    ends = []
    for parts in (1, 3):
        training = trainer(model, method, micro_batches=parts)
        losses = [training.step(ids, ranks, mask=mask) for _ in range(3)]
        ends.append([losses, *(p.data for p in training.adaptation.parameters())])
        assert losses[-1] < losses[0]
    for a, b in zip(*ends):
        assert np.allclose(a, b, atol=2e-5)
    assert all(np.array_equal(x, t.data) for x, t in zip(before, model.parameters()))


@pytest.mark.parametrize(
    "ranks, message",
    [
        ([[1, 2, np.nan, 3]] * B, "finite"),
        ([1, 2, 3], "finite numbers"),
        ([[1, 2, 3, 4]], "this batch needs"),
        ([[1, 2]] * B, "this batch needs"),
    ],
)
@BOTH
def test_other_ranks_are_refused(model, method, ranks, message):
    with pytest.raises(ValueError, match=message):
        model.loss(batch()[0], ranks, attached(model, method))


@BOTH
def test_texts_of_other_shapes_are_refused(model, method):
    ids, mask, ranks = batch()
    for wrong in ((ids[:, 0], None), (ids[:, :1], None), (ids, mask[:, :3])):
        with pytest.raises(ValueError, match="two answers or more"):
            model.scores(wrong[0], attached(model, method), mask=wrong[1])


def test_the_best_of_two_answers_is_a_pair():
    ids, mask, _ = batch(K=2)
    best, pairs = BestOf(DECODER), RewardModel(DECODER)
    γ = attached(pairs, HEADED)
    labels = np.array([0, 1, 1])
    y = best.loss(ids, labels, γ, mask=mask), pairs.loss(ids, np.eye(2)[labels], γ, mask=mask)
    assert np.isclose(*map(float, y))


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, K], [0, 1, -1], [[0], [1], [2]], [0.0, 1, 2]])
def test_other_columns_of_best_answers_are_refused(labels):
    model = BestOf(DECODER)
    with pytest.raises(ValueError, match="labels"):
        model.loss(batch()[0], labels, attached(model, HEADED))


@pytest.mark.parametrize("method", [HEADED, mp.Probe()])
def test_the_scores_of_demonstrations_are_centred(method):
    model = RewardModel(DECODER)
    γ, (ids, mask, _) = attached(model, method), batch()
    texts, real = ids.reshape(-1, T), mask.reshape(-1, T)
    before = model(texts, γ, mask=real).data
    center(model, γ, texts, real)
    after = model(texts, γ, mask=real).data
    assert abs(before.mean()) > 0.01 and abs(after.mean()) < 1e-6
    assert np.allclose(before - before.mean(), after, atol=1e-5)
    with pytest.raises(ValueError, match="has no head"):
        center(model, mp.BitFit().attach(model), texts)


def test_values_are_scores_of_what_is_read_so_far():
    """A value network has the head of a reward model, at each token."""
    model, value = RewardModel(DECODER), ValueModel(DECODER)
    γ, (ids, _, _) = attached(model, HEADED), batch()
    V = value(ids[:, 0], γ).data
    for t in range(1, T + 1):
        assert np.allclose(V[:, t - 1], model(ids[:, 0, :t], γ).data, atol=1e-5)


def test_equal_answers_and_no_adaptation_have_the_loss_log_2():
    model, (ids, _, ranks) = DPO(DECODER), batch()
    for texts, γ in ((ids, None), (ids[:, [0] * K], attached(model, DPO_METHOD))):
        assert np.isclose(float(model.loss(texts, ranks, γ)), np.log(2))


def test_the_prompt_has_no_part_in_the_scores_of_dpo():
    model, (ids, mask, _) = DPO(DECODER, beta=1.0), batch()
    γ = attached(model, DPO_METHOD)
    log_p = partial(log_probabilities, ids, mask)
    assert np.allclose(model.scores(ids, γ, mask=mask).data, log_p(γ) - log_p(None), atol=1e-4)


def test_padding_is_no_token_of_an_answer():
    """Of two answers, one goes on with the token 0 and the other ends: 0 is not shared."""
    model, ids = DPO(DECODER, beta=1.0), np.array([[[3, 1, 2, 0], [3, 1, 2, 0]]])
    mask = np.array([[[1, 1, 1, 1], [1, 1, 1, 0]]])
    ((long, short),) = model.scores(ids, attached(model, DPO_METHOD), mask=mask).data
    assert abs(long) > 1e-3 and short == 0


def log_probabilities(ids, mask, γ):
    """Return Σ log π of the tokens after the 2 of the prompt, for each text (B, K)."""
    z = DECODER(ids.reshape(-1, T), γ, mask=mask.reshape(-1, T)).data.astype(float)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    y = np.zeros((B, K))
    for n, (b, k) in enumerate(np.ndindex(B, K)):
        real = range(2, mask[b, k].sum())
        y[b, k] = sum(log_p[n, t - 1, ids[b, k, t]] for t in real)
    return y


@pytest.mark.parametrize("beta", [0, -1.0, np.inf, np.nan])
def test_other_settings_of_dpo_are_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        DPO(DECODER, beta)
    with pytest.raises(TypeError, match="needs a Decoder"):
        DPO(RewardModel(DECODER))
