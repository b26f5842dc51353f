"""T-Few's loss is that of its code, and the Trainer fits it on decoders and encoder–decoders."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.prompting.instructions import collate_choices
from minipeft.prompting.tfew import TFew
from tests.support.families import T5, V, nudged, seq2seq
from tests.support.policies import trainer

MODELS = {
    "decoder": mp.Decoder(mp.Config(V, 8, layers=1, heads=2, length=16), np.random.default_rng(0)),
    "encoder-decoder": nudged(seq2seq(T5)),
}
BOTH = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def rows(seed=0, B=3, K=3, longest=4):
    """Return prompts with K answers each, lists of ids."""
    rng = np.random.default_rng(seed)
    ids = lambda: rng.integers(1, V, rng.integers(1, longest)).tolist()
    return [(ids(), [ids() for _ in range(K)]) for _ in range(B)]


def token_log_p(model, prompt, answer):
    """Return log p of each token of an answer."""
    if isinstance(model, mp.EncoderDecoder):
        decoder_ids = model.shift_right(np.array([answer]))
        z = model(np.array([prompt]), decoder_ids=decoder_ids).data[0]
    else:
        z = model(np.array([[*prompt, *answer]])).data[0, len(prompt) - 1 : -1]
    z = z - np.log(np.exp(z.astype(float)).sum(-1, keepdims=True))
    return z[np.arange(len(answer)), answer]


def loss_of_the_code(model, prompt, answers):
    """Return the loss of one prompt as t-few's EncoderDecoder.py, of mean tokens, computes it."""
    log_p = [token_log_p(model, prompt, answer) for answer in answers]
    scores = np.array([row.mean() for row in log_p])
    wrong = np.concatenate(log_p[1:])
    unlikely = -np.log(1 - np.exp(wrong) + 1e-2).sum() / len(wrong)
    return -log_p[0].mean() - np.log(np.exp(scores[0]) / np.exp(scores).sum()) + unlikely


@BOTH
def test_the_loss_is_that_of_the_code_of_each_prompt(model):
    ids, labels, mask = collate_choices(model, rows())
    expected = np.mean([loss_of_the_code(model, *row) for row in rows()])
    assert float(TFew(model).loss(ids, labels, mask=mask)) == pytest.approx(expected, rel=1e-5)


@BOTH
def test_the_trainer_fits_it_and_micro_batches_change_nothing(model):
    batch = collate_choices(model, rows(1))
    network, losses = TFew(model), []
    before = float(network.loss(*batch[:2], mask=batch[2]))
    for parts in (1, 3):
        fitted = trainer(network, mp.FullFineTuning(), lr=1e-2, micro_batches=parts)
        losses.append([fitted.step(*batch[:2], mask=batch[2]) for _ in range(8)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][0] == pytest.approx(before, rel=1e-5) and losses[0][-1] < before - 0.1


def test_what_is_no_set_of_answers_is_refused():
    model = MODELS["decoder"]
    ids, labels, mask = collate_choices(model, rows())
    network = TFew(model)
    with pytest.raises(ValueError, match=r"labels must be \(prompts, answers, tokens\); got"):
        network.loss(ids[:, 0], labels[:, 0], mask=mask[:, 0])
    with pytest.raises(ValueError, match="two answers or more to each prompt"):
        network.loss(ids[:, :1], labels[:, :1], mask=mask[:, :1])
    labels[1, 2] = -100
    with pytest.raises(ValueError, match="answer 2 to prompt 1 has no labels"):
        network.loss(ids, labels, mask=mask)
    with pytest.raises(TypeError, match="needs a language model, not a Classifier"):
        TFew(mp.Classifier(model, 2))
    with pytest.raises(ValueError, match=r"prompts have \[1, 2\] answers"):
        collate_choices(model, [([1], [[2]]), ([1], [[2], [3]])])
