"""Where texts, words and pseudo-tokens stand, and who may read which of them."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.methods.template import IGNORED, Layout, Template
from tests.support.families import DECODERS, ENCODERS, METHODS, V, attached

MODEL = DECODERS["gpt2"]


class Words:
    """A tokenizer of which each word is a number; with special tokens, 1 and 2 around it."""

    def encode(self, text, add_special_tokens=True):
        ids = [int(word) for word in text.split()]
        return type("Code", (), {"ids": [1, *ids, 2] if add_special_tokens else ids})


class Named:
    def encode(self, text, add_special_tokens):
        return type("Code", (), {"ids": [{"x": 3, "(x)": 4}[word] for word in text.split()]})


def test_a_template_is_its_pieces_in_order():
    t = Template("[P]*3 {x} [P] 7 8 [P]*2 {y}")
    assert t.length == 6 and t.names == ["x", "y"]
    ids = t.fill(Words(), 20, x=[4, 5], y=[6])
    assert ids == [20, 21, 22, 4, 5, 23, 7, 8, 24, 25, 6]
    assert Template("{x}").fill(Words(), 20, x=[3]) == [3]
    assert Template("{x}[P]").fill(Words(), 20, x=[]) == [20]


@pytest.mark.parametrize("text", ["", "[P]*3", "{x} {x} [P]", "7 8"])
def test_a_template_has_a_place_for_each_text(text):
    with pytest.raises(ValueError, match="must have each text once"):
        Template(text)


def test_a_slip_in_filling_is_one_clear_error():
    with pytest.raises(ValueError, match=r"takes x, y; got x"):
        Template("{x} [P] {y}").fill(Words(), 20, x=[1])
    for kind in (mp.PseudoTokens, mp.PTuning):
        with pytest.raises(ValueError, match="has no pseudo-token"):
            kind("7 {x}")
    for mistyped in ("[P*3] {x}", "[P] * 3 {x}", "{x}{-} [P]", "[P] {x} {y"):
        with pytest.raises(ValueError, match=r"write \[P\]\*3 and {x}, not"):
            Template(mistyped)
    assert Template("[PAD] {x} [P]").pieces[0] == "[PAD]"
    assert Template("[P] {x} x (x)").fill(Named(), 20, x=[7]) == [20, 7, 3, 4]
    with pytest.raises(ValueError, match="takes a, b; got x"):
        Layout("[P] {a} {b}", Words(), MODEL)
    with pytest.raises(ValueError, match="encoder='rnn' must be one of lstm, lstm-half, mlp"):
        mp.PTuning(encoder="rnn")


def test_a_layout_keeps_labels_beside_their_tokens():
    layout = Layout("[P]*2 {x} 7 [P]", Words(), MODEL)
    assert layout([3, 4]) == [V, V + 1, 3, 4, 7, V + 2]
    assert layout([8, 9], IGNORED) == [IGNORED, IGNORED, 8, 9, IGNORED, IGNORED]
    ids, labels = layout.language(np.array([[3, 4, 5], [6, 7, 8]]))
    assert ids.tolist() == [[V, V + 1, 3, 4, 5, 7, V + 2], [V, V + 1, 6, 7, 8, 7, V + 2]]
    own = [[IGNORED] * 3 + [4, 5, IGNORED, IGNORED], [IGNORED] * 3 + [7, 8, IGNORED, IGNORED]]
    assert labels.tolist() == own
    front = Layout("[P]*3 {x}", Words(), MODEL)
    assert front([8], IGNORED) == [IGNORED, IGNORED, IGNORED, 8]
    plain = Layout(mp.PLAIN.template, Words(), MODEL)
    assert plain([3, 4]) == [3, 4] and plain([3, 4], IGNORED) == [3, 4]


def test_the_ends_of_a_text_for_an_encoder_stay_where_they_are():
    layout = Layout("[P] {x} [P]", Words(), ENCODERS["bert"])
    assert layout([1, 5, 6, 2]) == [1, V, 5, 6, V + 1, 2]
    assert layout([7, 8, 9, 7], 0) == [7, 0, 8, 9, 0, 7] and layout([]) == [V, V + 1]
    assert layout([7]) == [7, V, V + 1]


@pytest.mark.parametrize("name", METHODS)
def test_each_row_knows_its_own_pseudo_tokens(name):
    """Below V, plus those of the row's adaptation; in a mixture row by row."""
    adaptation, ids = attached(name, MODEL), np.ones((2, 4), int)
    own = int(np.max(adaptation.pseudo_tokens(1)))
    for row in (0, 1):
        ids[:] = 1
        ids[row, 2] = V + own
        more = f" and its {own} pseudo-tokens" if own else ""
        with pytest.raises(ValueError, match=f"token id {V + own} in row {row} .* of {V}{more}"):
            MODEL(ids, adaptation)
    if own:
        ids[0] = [1, V, V + own - 1, 2]
        ids[1] = 1
        assert MODEL(ids, mp.Each(adaptation, None)).shape == (2, 4, V)
        with pytest.raises(ValueError, match=f"token id {V} in row 0 .* vocabulary of {V}"):
            MODEL(ids, mp.Each(None, adaptation))


def test_a_chain_has_pseudo_tokens_of_one_method():
    rng = np.random.default_rng(0)
    two = mp.Chain(mp.PseudoTokens("[P] {x}"), mp.LoRA(2), mp.PTuning("[P]*2 {x}"))
    with pytest.raises(ValueError, match="only one part of a Chain.*PseudoTokens.*PseudoTokens"):
        MODEL(np.ones((1, 3), int), two.attach(MODEL, rng))
    one = mp.Chain(mp.LoRA(2), mp.PTuning("[P]*2 {x} 7")).attach(MODEL, rng)
    assert one.template == "[P]*2 {x} 7" and one.pseudo_tokens(1) == 2


def test_pseudo_tokens_in_front_are_a_prompt():
    rng, ids = np.random.default_rng(0), np.array([[3, 1, 4, 1]])
    prompt = mp.PromptTuning(2).attach(MODEL, rng)
    pseudo = mp.PseudoTokens("[P]*2 {x}").attach(MODEL, rng)
    pseudo.at = {"tokens": {"h": prompt.at["tokens"]["P"]}}
    laid = np.array([Layout(pseudo.template, None, MODEL)(ids[0])])
    z = MODEL(laid, pseudo).data[:, 2:]
    assert np.abs(z - MODEL(ids, prompt).data).max() <= 1e-12


def test_text_is_generated_behind_a_template():
    pseudo = attached("pseudo-tokens", MODEL)
    ids = np.array([Layout(pseudo.template, None, MODEL)([3, 1, 4])])
    new = mp.generate(MODEL, ids, pseudo, max_new_tokens=3)
    again = ids
    for token in new[0]:
        assert MODEL(again, pseudo).data[0, -1].argmax() == token
        again = np.hstack([again, [[token]]])
