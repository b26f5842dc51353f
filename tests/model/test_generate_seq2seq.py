"""Encoder–decoders write token by token: as if read anew each time, and row by row as if alone."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.nn import replace
from minipeft.model.blocks import Mlp
from tests.support.folders import BART, T5

MODELS = pytest.mark.parametrize("model", [T5, BART], ids=["t5", "bart"])
LENGTHS = np.array([5, 2, 4, 1])


def texts(model):
    """Return ids and mask (4, 5), padded at the right."""
    ids = np.random.default_rng(1).integers(3, model.config.vocabulary, (4, 5))
    return ids, np.arange(5) < LENGTHS[:, None]


def adaptations(model):
    rng = np.random.default_rng(2)
    lora, prefix = mp.LoRA(2).attach(model, rng), mp.PrefixTuning(3).attach(model, rng)
    prompt = mp.PromptTuning(2, targets=r"tokens$").attach(model, rng)
    for p in lora.parameters():
        p.data += 0.3 * rng.normal(size=p.shape)
    return [None, lora, prompt, prefix]


@MODELS
def test_greedy_is_the_likeliest_token_of_the_whole_text_read_anew(model):
    ids, mask = texts(model)
    for γ in adaptations(model):
        new = mp.generate(model, ids, γ, mask=mask, max_new_tokens=5)
        written = np.full((4, 1), model.config.decoder_start)
        for _ in range(5):
            z = model(ids, γ, decoder_ids=written, mask=mask).data[:, -1]
            written = np.hstack([written, z.argmax(-1)[:, None]])
        np.testing.assert_array_equal(new, written[:, 1:])


@MODELS
@pytest.mark.parametrize("how", [{}, {"num_beams": 3, "no_repeat_ngram_size": 2}])
def test_rows_of_any_length_and_method_are_as_if_alone(model, how):
    ids, mask = texts(model)
    each = adaptations(model)
    together = mp.generate(model, ids, mp.Each(each), mask=mask, max_new_tokens=5, **how)
    for new, row, real, γ in zip(together, ids, mask, each, strict=True):
        alone = mp.generate(model, [row[real]], γ, max_new_tokens=5, **how)
        np.testing.assert_array_equal(new, alone[0])


@MODELS
def test_settings_count_the_text_that_is_written(model):
    ids, mask = texts(model)
    said = {"forced_bos_token_id": 4, "forced_eos_token_id": 5, "max_length": 7}
    new = mp.generate(replace(model, generation_config=said), ids, mask=mask)
    assert new.shape == (4, 6) and (new[:, 0] == 4).all() and (new[:, -1] == 5).all()
    start = model.config.decoder_start
    same = replace(model, generation_config={"decoder_start_token_id": start})
    assert mp.generate(same, ids, max_new_tokens=2).shape == (4, 2)
    other = replace(model, generation_config={"decoder_start_token_id": start + 1})
    with pytest.raises(ValueError, match="decoder_start_token_id=. is not that of the model"):
        mp.generate(other, ids)


@MODELS
def test_the_encoder_reads_a_text_once_for_all_beams(model, monkeypatch):
    shapes, call = [], Mlp.__call__
    first = model.encoder.blocks[0].mlp.path
    record = lambda mlp, x, forward: shapes.append(x.shape[:2]) if mlp.path == first else None
    monkeypatch.setattr(Mlp, "__call__", lambda *a: (record(*a), call(*a))[1])
    ids, mask = texts(model)
    mp.generate(model, ids, mask=mask, num_beams=3, max_new_tokens=4)
    assert shapes == [(4, 5)]
