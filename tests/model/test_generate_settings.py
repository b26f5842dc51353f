"""Settings of generation: what is given, else what the model's folder says, else the defaults."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.nn import replace
from minipeft.model.generate import tokens_so_far
from minipeft.model.generation_config import (
    LENGTHS,
    UNSUPPORTED,
    GenerationConfig,
    generation_config,
)
from minipeft.model.inputs import Inputs
from minipeft.model.logits import (
    forbid_ngrams,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
    process,
)
from tests.support.tokenizers import letters

RNG = np.random.default_rng(0)
V = 17
MODEL = mp.Decoder(mp.Config(vocabulary=V, width=16, layers=2, heads=2, length=60), RNG)
MODEL = MODEL.map(lambda t: mp.Tensor(t.data.astype(float) + 0.3 * RNG.normal(size=t.shape)))
IDS = RNG.integers(0, V, (3, 4))


def says(**settings):
    """Return the model whose folder has these settings in generation_config.json."""
    return replace(MODEL, generation_config=settings)


def test_what_is_given_comes_first_then_the_folder_then_the_default():
    assert mp.generate(MODEL, IDS).shape == (3, 32)
    model = says(max_new_tokens=5, num_beams=3, early_stopping="never", length_penalty=0.5)
    assert mp.generate(model, IDS).shape == (3, 5)
    assert mp.generate(model, IDS, max_new_tokens=4).shape == (3, 4)
    how = {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.5}
    beams = mp.generate(MODEL, IDS, max_new_tokens=5, **how)
    np.testing.assert_array_equal(mp.generate(model, IDS), beams)
    old = replace(MODEL, folder_settings={"num_beams": 3, "max_new_tokens": 5})
    np.testing.assert_array_equal(
        mp.generate(old, IDS), mp.generate(MODEL, IDS, max_new_tokens=5, num_beams=3)
    )
    assert mp.generate(says(max_length=3), IDS, max_new_tokens=4).shape == (3, 4)
    both = replace(old, generation_config={"max_new_tokens": 2})
    assert generation_config(both, 4).num_beams == 1


@pytest.mark.parametrize(
    "settings, found",
    [
        ({"max_length": 9}, {"max_new_tokens": 5}),
        ({"max_length": 9, "max_new_tokens": 7}, {"max_new_tokens": 7}),
        ({"min_length": 9}, {"min_new_tokens": 5}),
        ({"min_length": 3}, {"min_new_tokens": 0}),
        ({"temperature": 0.6, "top_k": 3}, {"temperature": 0.0, "top_k": 3}),
        ({"do_sample": True}, {"temperature": 1.0, "top_k": 50}),
        (
            {"do_sample": True, "temperature": 0.6, "top_k": 3},
            {"temperature": 0.6, "top_k": 3},
        ),
        ({"eos_token_id": [3, 99], "pad_token_id": 4}, {"eos": (3,), "pad": 4}),
        ({"eos_token_id": 3, "pad_token_id": 99}, {"eos": (3,), "pad": 3}),
        ({"stop_strings": "b"}, {"stop_strings": ("b",)}),
        ({"typical_p": 1.0, "use_cache": False, "ours": 3, "num_beam_groups": 1}, {}),
    ],
)
def test_the_names_of_transformers_are_understood(settings, found):
    c = generation_config(says(**settings), 4)
    assert {name: getattr(c, name) for name in found} == found


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_would_change_the_tokens_and_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=rf"^generation_config.json: {name}=7 is not supported"):
        mp.generate(says(**{name: 7}), IDS)


@pytest.mark.parametrize(
    "settings, error",
    [
        ({"top_p": 0}, r"^generation_config.json: top_p=0 must be above 0, and at most 1"),
        ({"num_beams": "2"}, "num_beams='2' must be an integer of at least 1"),
        ({"num_beams": True}, "num_beams=True must be an integer of at least 1"),
        ({"early_stopping": "no"}, "early_stopping='no' must be False or True or 'never'"),
        ({"max_length": 4}, "max_length=4 leaves no room after 4 tokens: give max_new_tokens"),
        ({"max_length": "9"}, "max_length='9' must be an integer"),
        ({"do_sample": True}, r"temperature=1.0 needs a generator: rng="),
        ({"forced_eos_token_id": V}, f"forced_eos_token_id={V} is not in the vocabulary of {V}"),
        ({"stop_strings": "b"}, "stop_strings need the tokenizer: tokenizer="),
        ({"stop_strings": [1]}, r"stop_strings=\[1\] must be a text, or a list of them"),
        ({"num_beams": V + 1}, f"num_beams={V + 1} must be at most the vocabulary of {V}"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, error):
    with pytest.raises(ValueError, match=error):
        mp.generate(says(**settings), IDS)


def test_an_unknown_setting_is_named():
    with pytest.raises(TypeError, match="no setting 'num_beam'; its settings are max_new_tokens"):
        mp.generate(MODEL, IDS, num_beam=3)


# -- what each does


def test_a_text_does_not_end_before_its_least_length_and_ends_with_the_forced_token():
    eos = mp.generate(MODEL, IDS, max_new_tokens=6)[:, :3].ravel().tolist()
    new = mp.generate(MODEL, IDS, max_new_tokens=6, min_new_tokens=5, eos=eos)
    assert not np.isin(new[:, :5], eos).any() and new.shape == (3, 6)
    new = mp.generate(MODEL, IDS[:, :1], max_new_tokens=6, forced_bos_token_id=3)
    assert (new[:, 0] == 3).all()
    assert (mp.generate(MODEL, IDS, max_new_tokens=4, forced_bos_token_id=3)[:, 0] != 3).any()
    new = mp.generate(MODEL, IDS, max_new_tokens=6, forced_eos_token_id=5)
    assert (new[:, -1] == 5).all() and (new[:, -2] != 5).any()


def test_padding_has_no_part_in_repetitions():
    mask = np.arange(6) >= np.array([2, 5, 3])[:, None]
    ids = np.where(mask, np.hstack([IDS[:, :2] * 0, IDS]), 9)
    for how in ({"repetition_penalty": 3.0}, {"no_repeat_ngram_size": 2}):
        left = mp.generate(MODEL, ids, mask=mask, max_new_tokens=8, **how)
        right = mp.generate(MODEL, ids[:, ::-1], mask=mask[:, ::-1], max_new_tokens=8, **how)
        for row, real, new in zip(ids, mask, left, strict=True):
            alone = mp.generate(MODEL, [row[real]], max_new_tokens=8, **how)
            np.testing.assert_array_equal(new, alone[0])
        for row, real, new in zip(ids, mask, right, strict=True):
            alone = mp.generate(MODEL, [row[real][::-1]], max_new_tokens=8, **how)
            np.testing.assert_array_equal(new, alone[0])


def test_the_tokens_so_far_stand_at_the_right_without_padding_and_pseudo_tokens():
    ids, real = np.array([[5, 0, 6, 0], [-1, 7, 8, 9]]), np.array([[1, 0, 1, 0], [1, 1, 1, 1]])
    found = tokens_so_far(Inputs(ids, real == 1, 0 * ids), MODEL.config)
    np.testing.assert_array_equal(found, [[V, V, 5, 6], [V, 7, 8, 9]])


def test_an_ended_text_repeats_the_padding_token():
    free = mp.generate(MODEL, IDS, max_new_tokens=8)
    new = mp.generate(MODEL, IDS, max_new_tokens=8, eos=free[0, 1], pad_token_id=16)
    assert new[0].tolist() == [*free[0, :2], *[16] * (new.shape[1] - 2)] and new.shape[1] > 3


def test_no_ngram_occurs_twice():
    z = forbid_ngrams(np.zeros((1, 3)), np.array([[1, 1]]), 2)
    np.testing.assert_array_equal(z, [[0, -np.inf, 0]])
    for n in (1, 2, 3):
        new = mp.generate(MODEL, IDS, max_new_tokens=12, no_repeat_ngram_size=n)
        for row in np.hstack([IDS, new]).tolist():
            grams = [tuple(row[i : i + n]) for i in range(len(row) - n + 1)]
            assert all(gram not in grams[:i] for i, gram in enumerate(grams) if i > 4 - n)


def test_a_repetition_counts_once_and_makes_a_token_less_likely():
    z = np.array([[2.0, -2.0, 1.0, -1.0]])
    found = penalise_repetition(z, np.array([[4, 0, 1, 0]]), 2.0)
    np.testing.assert_array_equal(found, [[1.0, -4.0, 1.0, -1.0]])


def test_few_tokens_stay_to_draw_from():
    p = np.array([[0.1, 0.4, 0.2, 0.3]])
    left = lambda z: np.flatnonzero(np.isfinite(z[0])).tolist()
    assert left(keep_top_k(np.log(p), 2)) == [1, 3] and left(keep_top_k(np.log(p), 9)) == [
        *range(4)
    ]
    assert [left(keep_top_p(np.log(p), q)) for q in (0.3, 0.5, 0.75)] == [[1], [1, 3], [1, 2, 3]]
    assert left(keep_top_p(np.log(p), 0.3, least=2)) == [1, 3]
    rng = np.random.default_rng(0)
    how = {"max_new_tokens": 3, "temperature": 5.0, "rng": rng}
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}):
        new = mp.generate(MODEL, IDS, **how, **narrow)
        np.testing.assert_array_equal(new, mp.generate(MODEL, IDS, max_new_tokens=3))


def test_the_lengths_are_those_of_the_papers():
    assert [LENGTHS["gnmt"](n, 2.0) for n in (1, 7)] == [1, 4]
    assert [LENGTHS["transformers"](n, 2.0) for n in (1, 7)] == [1, 49]


def test_the_defaults_change_no_logits():
    z = RNG.normal(size=(3, V))
    assert process(z, IDS, 0, GenerationConfig()) is z


# -- strings and streams


def test_a_text_ends_after_a_stopping_string():
    tokenizer, free = letters(V), mp.generate(MODEL, IDS, max_new_tokens=10)
    text = tokenizer.decode(free[0].tolist())
    string = text[4:7]  # such as "c d", of two tokens
    for how in ({}, {"num_beams": 1}):
        new = mp.generate(
            MODEL, IDS, max_new_tokens=10, stop_strings=["?", string], tokenizer=tokenizer, **how
        )
        for row, was in zip(new, free, strict=True):
            ends = [n for n in range(1, 11) if string in tokenizer.decode(was[:n].tolist())]
            end = ends[0] if ends else len(row)
            np.testing.assert_array_equal(row[:end], was[:end])
            assert (row[end:] == 0).all()
    beams = mp.generate(
        MODEL, IDS, max_new_tokens=10, stop_strings=string, tokenizer=tokenizer, num_beams=3
    )
    assert beams.shape[1] <= 10


def test_a_stream_yields_the_tokens_as_they_come():
    read = []

    class Recorder(mp.Decoder):
        def next_logits(self, ids, cache):
            read.append(ids[:, 0].tolist())
            return super().next_logits(ids, cache)

    model = Recorder(MODEL.config, RNG)
    vars(model).update(vars(MODEL))
    tokens = mp.generate(model, IDS, max_new_tokens=4, stream=True)
    first = next(tokens)
    assert first.shape == (3,) and read == []
    second = next(tokens)
    assert read == [first.tolist()]
    new = np.stack([first, second, *tokens], 1)
    np.testing.assert_array_equal(new, mp.generate(MODEL, IDS, max_new_tokens=4))
    with pytest.raises(ValueError, match="stream=True does not go with num_beams=2"):
        mp.generate(MODEL, IDS, num_beams=2, stream=True)
