"""Position ids that are given replace the count of tokens, also in a window and in a cache."""

from dataclasses import replace

import numpy as np
import pytest

from minipeft import Cache, Decoder, Tensor
from tests.support.families import DECODERS, V, attached, batch, decoders

GIVEN = np.array([0, 1, 2, 9, 10, 12, 13])


def states(model, ids, *args, **options):
    return model.states(ids, *args, **options)[0].data


@decoders
def test_position_ids_that_are_the_count_change_nothing(model):
    ids, _, mask = batch(model, 5)
    count = np.maximum(mask.cumsum(1) - 1, 0)
    γ = attached("prefix of 2", model)
    for adaptation, shift in ((None, 0), (γ, 2)):
        expected = states(model, ids, adaptation, mask=mask)
        given = states(model, ids, adaptation, mask=mask, position_ids=count + shift)
        assert np.array_equal(given, expected)


def test_position_ids_choose_the_position_embeddings():
    model = DECODERS["gpt2"]
    ids = np.random.default_rng(0).integers(0, V, (1, 7))
    W = model.positions.W
    moved = model.map(lambda t: Tensor(np.roll(t.data, -5, axis=0) if t is W else t.data))
    given = states(model, ids, position_ids=np.arange(7)[None] + 5)
    assert np.array_equal(given, states(moved, ids))
    assert not np.allclose(given, states(model, ids))


def test_position_0_may_have_a_later_row_of_the_table():
    """A table whose first rows are not read is a shorter table, and texts are as long as before."""
    model, ids = DECODERS["gpt2"], np.random.default_rng(0).integers(0, V, (2, 33))
    offset = Decoder(replace(model.config, position_offset=2), np.random.default_rng(0))
    W = np.vstack([np.full((2, 8), 9.0), model.positions.W.data])
    assert offset.positions.W.shape == W.shape
    new = dict(model.named_parameters()) | {"positions.W": Tensor(W)}
    by_id = {id(t): new[path] for path, t in offset.named_parameters()}
    offset = offset.map(lambda t: Tensor(by_id[id(t)].data))
    assert np.array_equal(states(offset, ids[:, :32]), states(model, ids[:, :32]))
    with pytest.raises(ValueError, match="need 33 positions, and the model has 32"):
        offset(ids)


def test_a_window_is_measured_in_position_ids():
    """With a window of 6 the token at position 9 does not see those at positions 0, 1 and 2."""
    model, ids = DECODERS["llama"], np.random.default_rng(0).integers(1, V, (1, 7))
    other = np.where(np.arange(7) < 3, 0, ids)
    read = lambda ids, **options: states(model, ids, **options)[:, 3:]
    given = GIVEN[None]
    assert np.abs(read(ids, position_ids=given) - read(other, position_ids=given)).max() < 1e-12
    assert np.abs(read(ids) - read(other)).max() > 1e-3


@decoders
def test_position_ids_are_kept_in_a_cache_and_follow_its_rows(model):
    ids = np.random.default_rng(0).integers(0, V, (3, 7))
    position_ids = GIVEN + np.arange(3)[:, None]
    whole = states(model, ids, position_ids=position_ids)
    cache, order = Cache(), np.array([2, 0, 0, 1])
    states(model, ids[:, :2], cache=cache, position_ids=position_ids[:, :2])
    cache = cache.of(order)
    for part in (slice(2, 3), slice(3, 7)):
        options = {"cache": cache, "position_ids": position_ids[order, part]}
        assert np.abs(states(model, ids[order, part], **options) - whole[order, part]).max() < 1e-12
