"""Encoder–decoders: both stacks, cached decoding, and what the decoder reads."""

import numpy as np
import pytest

from minipeft import (
    BartConfig,
    Cache,
    Chain,
    Classifier,
    Each,
    Encoded,
    EncoderDecoder,
    Features,
    LoRA,
    PrefixTuning,
    PromptTuning,
)
from minipeft.adaptation.forward import Forward
from minipeft.model.inputs import check_inputs
from minipeft.model.positions import bucket
from tests.support.families import METHODS, SMOOTH, V, attached, batch, nudged, seq2seq
from tests.support.folders import BART, T5

MODEL = nudged(seq2seq(SMOOTH))
MODELS = pytest.mark.parametrize("model", [MODEL, BART], ids=["t5", "bart"])
RNG = np.random.default_rng(0)
WRITTEN = RNG.integers(0, V, (len(METHODS), 5))


def mixture(model):
    """An adaptation of every method, and prompts and prefixes in every place, in one batch."""
    places = [
        PromptTuning(3, targets=r"^decoder\.tokens$"),
        PromptTuning(2, targets=r"tokens$"),
        PrefixTuning(3, targets=r"^encoder.*attn$"),
        PrefixTuning(2, targets=r"^decoder.*attn$"),
        PrefixTuning(4, targets=r"cross$"),
    ]
    parts = [attached(name, model) for name in METHODS][: len(METHODS) - len(places)]
    return Each([*parts, *[place.attach(model, np.random.default_rng(1)) for place in places]])


@MODELS
def test_a_row_of_a_mixture_is_as_if_alone(model):
    mix = mixture(model)
    ids, _, mask = batch(model, len(METHODS), mix)
    z = model(ids, mix, decoder_ids=WRITTEN, mask=mask).data
    for i, m in enumerate(mix.parts):
        own = slice(i, i + 1)
        alone = model(ids[own, mask[i]], m, decoder_ids=WRITTEN[own]).data
        assert np.abs(z[own] - alone).max() <= 1e-12


@MODELS
def test_writing_in_parts_and_by_beams_is_writing_at_once(model):
    mix = mixture(model)
    ids, _, mask = batch(model, len(METHODS), mix)
    whole = model(ids, mix, decoder_ids=WRITTEN, mask=mask).data
    cache, beams, source = Cache(mix), np.arange(len(METHODS)), None
    for start, stop in ((0, 2), (2, 3), (3, 5)):
        read = ids[beams] if start == 0 else np.zeros((len(beams), 1), int)
        own = mask[beams] if start == 0 else None
        z = model(read, decoder_ids=WRITTEN[beams, start:stop], mask=own, cache=cache).data
        assert np.abs(z - whole[beams, start:stop]).max() <= 1e-12
        assert source is None or source is cache.source  # the encoder runs once
        source = cache.source
        order = np.random.default_rng(start).integers(0, len(beams), len(METHODS))
        cache, beams = cache.of(order), beams[order]
        assert np.array_equal(cache.source.rows[0].data, source.rows[0].data[order])
        source = cache.source


@MODELS
def test_the_logits_of_generation_are_those_of_the_text(model):
    ids, _, mask = batch(model, 3)
    start = np.full((3, 1), model.config.decoder_start)
    whole = model(ids, decoder_ids=np.hstack([start, WRITTEN[:3]]), mask=mask).data
    cache = Cache()
    z = [model.first_logits(check_inputs(model.config, ids, cache.adaptation, mask), cache)]
    z += [model.next_logits(WRITTEN[:3, t : t + 1], cache) for t in range(5)]
    assert np.abs(np.stack(z, 1) - whole).max() <= 1e-12


@MODELS
def test_a_loss_is_of_what_the_decoder_reads_before_each_label(model):
    ids, _, mask = batch(model, 3)
    labels = np.array([[3, 4, 5], [6, 7, -100], [8, -100, -100]])
    read = model.shift_right(labels)
    assert (read[:, 0] == model.config.decoder_start).all() and (read[0, 1:] == [3, 4]).all()
    z = model(ids, decoder_ids=read, mask=mask).data
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    wanted = -np.mean([log_p[i, t, labels[i, t]] for i, t in np.argwhere(labels >= 0)])
    assert model.loss(ids, labels, mask=mask).data == pytest.approx(wanted, abs=1e-12)


def test_what_stands_for_a_missing_label_is_not_seen_before_it():
    ids, labels = batch(T5, 1)[0], np.array([[3, -100, 5]])
    padded = nudged(seq2seq(SMOOTH))
    padded.folder_settings = {"pad_token_id": 9}
    assert padded.shift_right(labels).tolist() == [[2, 3, 9]]
    assert T5.shift_right(labels).tolist() == [[2, 3, 2]]
    one, two = (T5.loss(ids, labels[:, :T]).data for T in (1, 2))
    assert one == pytest.approx(two, abs=1e-12)


def test_a_bias_that_all_rows_share_is_that_of_each_row():
    ids = RNG.integers(0, V, (3, 6))
    for mask in (None, [[1] * 6, [0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]):  # one bias for all
        real = check_inputs(T5.config, ids, Cache().adaptation, mask).real
        shared = Forward(Cache(), T5.encoder, real)
        each = Forward(Cache(), T5.encoder, real)
        each.rows_of = lambda layer: 3
        one, three = (T5.encoder.positions.bias(real, f).data for f in (shared, each))
        assert one.shape[0] == 1 and three.shape[0] == 3 and (one == three).all()
    gap = np.array([[1, 0, 1, 1, 1, 1]] * 3, bool)
    bias = T5.encoder.positions.bias(gap, Forward(Cache(), T5.encoder, gap)).data
    assert bias.shape[0] == 3 and (bias[..., 0, 2] == one[..., 0, 1]).all()


def test_the_stacks_share_one_embedding():
    for model in (T5, BART):
        assert model.encoder.tokens.W is model.decoder.tokens.W is model.head.W
        assert model.encoder.tokens is not model.decoder.tokens
        new = seq2seq(model.config)
        assert new.encoder.tokens.W is new.decoder.tokens.W is new.head.W


def test_the_decoder_sees_the_prompt_of_the_encoder():
    cache = Cache(PromptTuning(3).attach(T5, RNG))
    T5([[1, 2]], decoder_ids=[[0]], cache=cache)
    assert cache.source.real.shape == (1, 5) and cache.source.rows[0].shape == (1, 5, 8)


def test_buckets_of_the_paper():
    """32 buckets, 128 tokens: 16 for each direction; 8 exact, 8 logarithmic."""
    distance = np.array([0, -1, -7, -8, -11, -12, -127, -128, -500, 1, 8, 500])
    both = [0, 1, 7, 8, 8, 9, 15, 15, 15, 17, 24, 31]
    assert bucket(distance, 32, 128, False).tolist() == both
    assert bucket(distance, 32, 128, True).tolist() == [0, 1, 7, 8, 11, 12, 31, 31, 31, 0, 0, 0]


def test_three_prefixes_with_their_own_encoders_are_a_chain():
    places = r"^encoder.*attn$", r"^decoder.*attn$", r"cross$"
    three = Chain(*[Encoded(PrefixTuning(2, targets=p), mlp_width=3) for p in places])
    γ = three.attach(T5, np.random.default_rng(0))
    assert len([p for p in γ.parameters() if p.shape == (2, 8)]) == 3  # E of each
    assert {path for m in γ.resolve().leaves() for path in m.at} == {
        path for path, _ in T5.modules() if path.endswith(("attn", "cross"))
    }


def test_slips_are_one_clear_error():
    with pytest.raises(ValueError, match="decoder_layers of at least 1"):
        EncoderDecoder(BartConfig(13, 8, layers=1, heads=2, length=9), RNG)
    with pytest.raises(ValueError, match="ids and decoder_ids differ in batch size"):
        T5([[1], [2]], decoder_ids=[[1]])
    with pytest.raises(ValueError, match="decoder_ids must be integers"):
        T5([[1]], decoder_ids=[[0.5]])
    with pytest.raises(ValueError, match="a cache has its own adaptation"):
        T5([[1]], LoRA(2).attach(T5, RNG), decoder_ids=[[1]], cache=Cache())
    for network in (lambda: Classifier(T5, 3), lambda: Features(T5)):
        with pytest.raises(ValueError, match="of an encoder–decoder is not supported"):
            network()
    with pytest.raises(ValueError, match="need 33 positions, and the model has 32"):
        BART([[1]], decoder_ids=[[1] * 33])
