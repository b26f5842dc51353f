"""Text token by token: as if the whole were read anew each time, and row by row as if alone."""

import numpy as np
import pytest

import minipeft as mp

RNG = np.random.default_rng(0)
MODEL = mp.Decoder(mp.Config(vocabulary=17, width=16, layers=2, heads=2, length=40), RNG)
MODEL = MODEL.map(lambda t: mp.Tensor(t.data.astype(float) + 0.3 * RNG.normal(size=t.shape)))
GAMMAS = {
    "plain": mp.PLAIN,
    "prompt": mp.PromptTuning(length=3).attach(MODEL, RNG),
    "prefix": mp.Encoded(mp.PrefixTuning(length=4), mlp_width=5).attach(MODEL, RNG),
    "adapter": mp.Adapter(bottleneck=3).attach(MODEL, RNG),
}


@pytest.mark.parametrize("name", GAMMAS)
def test_greedy_is_the_likeliest_token_of_the_whole_text_read_anew(name):
    ids = RNG.integers(0, 17, (2, 5))
    new = mp.generate(MODEL, ids, GAMMAS[name], max_new_tokens=6)
    for _ in range(6):
        likeliest = MODEL(ids, GAMMAS[name]).data[:, -1].argmax(-1)
        ids = np.concatenate([ids, likeliest[:, None]], 1)
    np.testing.assert_array_equal(new, ids[:, 5:])


def test_rows_of_any_length_and_method_are_as_if_alone():
    rows = [RNG.integers(0, 17, n).tolist() for n in (5, 2, 7, 1)]
    ids, mask = np.zeros((4, 9), int), np.zeros((4, 9), bool)
    for i, (row, start) in enumerate(zip(rows, (0, 7, 1, 4))):
        ids[i, start : start + len(row)], mask[i, start : start + len(row)] = row, True
    together = mp.generate(MODEL, ids, mp.Each(list(GAMMAS.values())), mask=mask, max_new_tokens=8)
    for new, row, adaptation in zip(together, rows, GAMMAS.values()):
        alone = mp.generate(MODEL, [row], adaptation, max_new_tokens=8)
        np.testing.assert_array_equal(new, alone[0])


def test_a_row_that_has_ended_goes_on_saying_so():
    ids = RNG.integers(0, 17, (6, 4))
    free = mp.generate(MODEL, ids, max_new_tokens=10)
    eos = int(free[0, 2])
    new = mp.generate(MODEL, ids, max_new_tokens=10, eos=eos)
    for row, was in zip(new, free):
        end = np.argmax(was == eos) if eos in was else len(row)
        np.testing.assert_array_equal(row[:end], was[: len(row)][:end])
        assert (row[end:] == eos).all()


def test_any_of_several_tokens_may_end_a_row():
    ids = RNG.integers(0, 17, (6, 4))
    free = mp.generate(MODEL, ids, max_new_tokens=10)
    ends = [int(free[0, 2]), int(free[1, 1])]
    new = mp.generate(MODEL, ids, max_new_tokens=10, eos=ends)
    assert new.shape == free.shape or np.isin(new, ends).any(1).all()
    for row, was in zip(new, free):
        end = np.argmax(np.isin(was, ends)) + 1 if np.isin(ends, was).any() else len(row)
        np.testing.assert_array_equal(row[:end], was[:end])
        assert (row[end:] == ends[0]).all()


def test_drawn_tokens_follow_the_distribution_and_the_generator():
    ids = np.tile(RNG.integers(0, 17, (1, 4)), (4000, 1))
    draw = lambda seed, **how: mp.generate(
        MODEL, ids, max_new_tokens=1, rng=np.random.default_rng(seed), **how
    )
    once = draw(0, temperature=2.0)
    np.testing.assert_array_equal(once, draw(0, temperature=2.0))
    assert not np.array_equal(once, draw(1, temperature=2.0))
    z = MODEL(ids[:1]).data[0, -1] / 2
    p = np.exp(z - z.max())
    seen = np.bincount(once[:, 0], minlength=17) / 4000
    assert np.abs(seen - p / p.sum()).max() < 0.04
    top = set(np.argsort(z)[-3:].tolist())
    assert set(draw(0, temperature=2.0, top_k=3)[:, 0].tolist()) == top
    with pytest.raises(ValueError, match=r"rng=np.random.default_rng\(0\)"):
        mp.generate(MODEL, ids[:1], temperature=1.0)


@pytest.mark.parametrize("kind", [mp.Features, lambda model: mp.Classifier(model, 2)])
def test_only_a_decoder_writes(kind):
    with pytest.raises(ValueError, match="generate needs a Decoder or an EncoderDecoder, not a"):
        mp.generate(kind(MODEL), [[1, 2]])


def test_a_row_without_tokens_has_nothing_to_go_on_from():
    with pytest.raises(ValueError, match="row 1 of the batch has no real token"):
        mp.generate(MODEL, [[1, 2], [3, 4]], GAMMAS["prompt"], mask=[[1, 1], [0, 0]])


@pytest.mark.parametrize(
    "given, error",
    [
        ({"temperature": -1}, "temperature=-1 must be at least 0"),
        ({"eos": [None]}, r"eos=\[None\] must be a token id, or a list of them"),
        ({"eos": "x"}, r"eos=\['x'\] must be a token id, or a list of them"),
    ],
)
def test_arguments_out_of_range_are_named(given, error):
    with pytest.raises(ValueError, match=error):
        mp.generate(MODEL, [[1, 2]], max_new_tokens=4, **given)
