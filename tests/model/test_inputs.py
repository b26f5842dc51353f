"""What a model can't read is refused with one clear error: ids, masks, labels, configurations."""

import numpy as np
import pytest

from minipeft import (
    PLAIN,
    Cache,
    Chain,
    Classifier,
    Config,
    PrefixTuning,
    PromptTuning,
    SpanClassifier,
)
from tests.support.families import (
    DECODERS,
    ENCODERS,
    SPANS,
    TAGGERS,
    V,
    classifiers,
    decoders,
    networks,
)

TAGGED = ENCODERS | TAGGERS


WORDS = np.zeros((2, 4), int)
SLIPS = {
    "text": (np.full((2, 4), "a"), None, "ids must be integers"),
    "float ids": (WORDS.astype(float), None, "ids must be integers"),
    "one row": (WORDS[0], None, r"integers \(batch, length\).*\(4,\)"),
    "no rows": (WORDS[:0], None, "neither of them 0"),
    "no tokens": (WORDS[:, :0], None, "neither of them 0"),
    "ragged": ([[1, 2], [3]], None, "rows of different lengths"),
    "an id too large": (WORDS + V, None, f"token id {V} in row 0 is not in the vocabulary of {V}"),
    "an id below zero": (WORDS - 1, None, "token id -1 in row 0"),
    "a mask of other length": (WORDS, np.ones((2, 3)), r"mask \(2, 3\) must have the"),
    "a mask of one row": (WORDS, np.ones(4), r"mask \(4,\) must have the"),
}


@networks
@pytest.mark.parametrize(("ids", "mask", "says"), SLIPS.values(), ids=SLIPS)
def test_a_slip_in_the_ids_is_one_clear_error(model, ids, mask, says):
    labels = np.zeros(2 if isinstance(model, Classifier) else (2, 4), int)
    labels = labels[:, :2] if isinstance(model, SpanClassifier) else labels
    with pytest.raises(ValueError, match=says):
        model(ids, mask=mask)
    with pytest.raises(ValueError, match=says):
        model.loss(ids, labels, mask=mask)


@decoders
@pytest.mark.parametrize("labels", [np.zeros((2, 3), int), np.zeros(4, int), WORDS + V])
def test_labels_of_a_text_are_its_tokens(model, labels):
    with pytest.raises(ValueError, match=f"this batch needs|integers|from 0 to {V - 1}"):
        model.loss(WORDS, labels)


@classifiers
@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [-100, 0], WORDS, 1])
def test_labels_of_a_classifier_are_classes(model, labels):
    with pytest.raises(ValueError, match=r"labels must be \(batch,\).*from 0 to 2"):
        model.loss(WORDS, labels)


@classifiers
@pytest.mark.parametrize("labels", [[0], [0, 1, 2]])
def test_a_classifier_has_one_label_for_each_text(model, labels):
    with pytest.raises(
        ValueError, match=rf"labels have the shape \({len(labels)},\).* needs \(2,\)"
    ):
        model.loss(WORDS, labels)


@pytest.mark.parametrize("model", TAGGED.values(), ids=TAGGED)
@pytest.mark.parametrize("labels", [np.zeros((2, 3), int), np.zeros(4, int), WORDS + V, WORDS - 1])
def test_labels_of_tokens_have_their_shape(model, labels):
    with pytest.raises(ValueError, match="this batch needs|integers|from 0 to"):
        model.loss(WORDS, labels)


def test_what_reads_both_ways_does_not_read_on():
    cache = Cache()
    ENCODERS["bert"](WORDS, cache=cache)
    with pytest.raises(ValueError, match="can't continue a text: give it the whole text at once"):
        ENCODERS["bert"](WORDS, cache=cache)


@pytest.mark.parametrize("token_types", [WORDS[:1], WORDS + 2, WORDS - 1, WORDS + 0.5])
def test_types_are_of_tokens_and_known(token_types):
    with pytest.raises(
        ValueError, match=r"token_types must have the shape of ids \(2, 4\).*0 to 1"
    ):
        ENCODERS["bert"](WORDS, token_types=token_types)


def test_a_decoder_has_neither_types_nor_pooler():
    with pytest.raises(ValueError, match="has no token types: leave token_types out"):
        DECODERS["gpt2"].states(WORDS, token_types=WORDS)
    with pytest.raises(ValueError, match="pool='cls' needs an encoder with a pooler"):
        Classifier(DECODERS["gpt2"], 3, pool="cls")


@classifiers
def test_a_text_without_tokens_has_no_class(model):
    with pytest.raises(ValueError, match="row 1 of the batch has no real token"):
        model(WORDS, mask=np.array([[1, 1, 1, 1], [0, 0, 0, 0]]))


def test_a_text_ends_where_positions_do():
    """What stands before it counts too, and padding does not."""
    model, rng = DECODERS["gpt2"], np.random.default_rng(0)
    words = np.zeros((2, 28), int)
    model(words, PrefixTuning(4).attach(model, rng))
    model(words, PrefixTuning(9, shift_positions=False).attach(model, rng))
    model(np.zeros((2, 40), int), mask=np.arange(40) % 2 * np.ones((2, 1)))
    both = Chain(PrefixTuning(3), PrefixTuning(2))
    for length, adaptation in (
        (33, PLAIN),
        (28, PromptTuning(5)),
        (28, PrefixTuning(5)),
        (28, both),
    ):
        adaptation = adaptation if adaptation is PLAIN else adaptation.attach(model, rng)
        for B in (1, 2):
            with pytest.raises(ValueError, match="need 33 positions, and the model has 32"):
                model(np.zeros((B, length), int), adaptation)
    cache = Cache()
    model(words, cache=cache)
    with pytest.raises(ValueError, match="need 33 positions"):
        model(words[:, :5], cache=cache)


@pytest.mark.parametrize(
    "labels",
    [
        [[0, 1, 2]] * 2,
        [[0, 1]],
        [[0, 1], [1, 4]],
        [[0, 1], [-1, 2]],
        [0, 1],
        [[0.0, 1], [1, 2]],
        [[3, 1]] * 2,
    ],
)
def test_a_slip_in_a_spans_labels_is_one_clear_error(labels):
    """Too few, outside of the text, of another shape, no whole numbers, or of padding."""
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    with pytest.raises(ValueError, match="labels must be"):
        SPANS["spans"].loss(WORDS, labels, mask=mask)


@pytest.mark.parametrize(
    ("slip", "says"),
    [
        ({"positions": "rotary", "heads": 8}, "even head width, not 1"),
        ({"biases": ("q", "w")}, "may have only q, k, v, o, gate, up, down"),
        ({"window": -1}, "every size in a configuration must be at least 1"),
        ({"position_offset": -1}, "position_offset=-1 must not be negative"),
        ({"eps": 0.0}, "eps=0.0 must be greater than 0"),
        ({"rope_theta": -1.0}, "rope_theta=-1.0 must be greater than 0"),
        (
            {"rope_scaling": (0.0, 1.0, 4.0, 16)},
            r"rope_scaling=\(0.0, 1.0, 4.0, 16\) must be .* 0 < factor",
        ),
        ({"rope_scaling": (8.0, 4.0, 4.0, 16)}, "0 <= low < high"),
        ({"heads": 3}, "width 8 must be a multiple of heads 3"),
        ({"key_heads": 3}, "heads of key_heads 3"),
        (
            {"positions": "sinus"},
            "positions='sinus' must be one of learned, rotary, relative, none",
        ),
        ({"norm": "batch"}, "norm='batch' must be one of layer, rms"),
        ({"activation": "erf"}, "activation='erf' must be one of gelu_tanh, gelu, relu, silu"),
    ],
)
def test_a_slip_in_a_config_is_one_clear_error(slip, says):
    with pytest.raises(ValueError, match=says):
        Config(**{"vocabulary": V, "width": 8, "layers": 1, "heads": 4, "length": 8} | slip)


def test_a_head_is_as_wide_as_the_configuration_says():
    """By default the heads are as wide together as the hidden states."""
    for name, shape in (("gpt2", (8, 2 * 4)), ("llama", (8, 4 * 4))):
        assert DECODERS[name].blocks[0].attn.q.shape == shape
