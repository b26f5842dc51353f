"""Where texts, words and pseudo-tokens stand, and who may read which of them."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.adaptation.method import PSEUDO
from minipeft.methods.segments import SLOT, continuation
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
    P = [PSEUDO - i for i in range(6)]
    assert ids == [*P[:3], 4, 5, P[3], 7, 8, *P[4:], 6]
    assert Template("{x}").fill(Words(), 20, x=[3]) == [3]
    assert Template("{x}[P]").fill(Words(), 20, x=[]) == P[:1]


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
    assert Template("[PAD] {x} [P]").pieces[0] == "[PAD] "
    assert Template("[P] {x} x (x)").fill(Named(), 20, x=[7]) == [PSEUDO, 7, 3, 4]
    with pytest.raises(ValueError, match="takes a, b; got x"):
        Layout("[P] {a} {b}", Words(), MODEL)
    with pytest.raises(ValueError, match="encoder='rnn' must be one of lstm, lstm-half, mlp"):
        mp.PTuning(encoder="rnn")


def test_a_layout_keeps_labels_beside_their_tokens():
    layout = Layout("[P]*2 {x} 7 [P]", Words(), MODEL)
    assert layout([3, 4]) == [PSEUDO, PSEUDO - 1, 3, 4, 7, PSEUDO - 2]
    assert layout([8, 9], IGNORED) == [IGNORED, IGNORED, 8, 9, IGNORED, IGNORED]
    ids, labels = layout.language(np.array([[3, 4, 5], [6, 7, 8]]))
    front, back = [PSEUDO, PSEUDO - 1], [7, PSEUDO - 2]
    assert ids.tolist() == [[*front, 3, 4, 5, *back], [*front, 6, 7, 8, *back]]
    own = [[IGNORED] * 3 + [4, 5, IGNORED, IGNORED], [IGNORED] * 3 + [7, 8, IGNORED, IGNORED]]
    assert labels.tolist() == own
    front = Layout("[P]*3 {x}", Words(), MODEL)
    assert front([8], IGNORED) == [IGNORED, IGNORED, IGNORED, 8]
    plain = Layout(mp.PLAIN.template, Words(), MODEL)
    assert plain([3, 4]) == [3, 4] and plain([3, 4], IGNORED) == [3, 4]


def test_the_ends_of_a_text_for_an_encoder_stay_where_they_are():
    layout = Layout("[P] {x} [P]", Words(), ENCODERS["bert"])
    assert layout([1, 5, 6, 2]) == [1, PSEUDO, 5, 6, PSEUDO - 1, 2]
    assert layout([7, 8, 9, 7], 0) == [7, 0, 8, 9, 0, 7]
    assert layout([]) == [PSEUDO, PSEUDO - 1] and layout([7]) == [7, PSEUDO, PSEUDO - 1]


@pytest.mark.parametrize("name", METHODS)
def test_each_row_knows_its_own_pseudo_tokens(name):
    """Below V, plus those of the row's adaptation; in a mixture row by row."""
    adaptation, ids = attached(name, MODEL), np.ones((2, 4), int)
    own = int(np.max(adaptation.pseudo_tokens(1)))
    for row in (0, 1):
        ids[:] = 1
        ids[row, 2] = PSEUDO - own
        more = f" and its {own} pseudo-tokens" if own else ""
        message = f"token id {PSEUDO - own} in row {row} .* of {V}{more}$"
        with pytest.raises(ValueError, match=message):
            MODEL(ids, adaptation)
    if own:
        ids[0] = [1, PSEUDO, PSEUDO - own + 1, 2]
        ids[1] = 1
        assert MODEL(ids, mp.Each(adaptation, None)).shape == (2, 4, V)
        with pytest.raises(ValueError, match=f"token id {PSEUDO} in row 0 .* vocabulary of {V}$"):
            MODEL(ids, mp.Each(None, adaptation))


@pytest.mark.parametrize("name", METHODS)
def test_an_id_of_a_text_is_never_a_pseudo_token(name):
    """An id of V or more is refused with every method, alone, in a Chain, a mixture, and cached."""
    adaptation = attached(name, MODEL)
    mixed, cache = mp.Each(attached("lora", MODEL), adaptation), mp.Cache(adaptation)
    calls = (
        lambda ids: MODEL(ids, adaptation),
        lambda ids: MODEL(ids, mixed),
        lambda ids: MODEL.loss(ids, np.ones((2, 3), int), adaptation),
        lambda ids: mp.generate(MODEL, ids, adaptation, max_new_tokens=1),
        lambda ids: MODEL(ids, cache=cache),
    )
    for stray in (V, V + 1, 10**6, -1, -100, PSEUDO + 1):
        ids = np.ones((2, 3), int)
        ids[1, 1] = stray
        for call in calls:
            with pytest.raises(ValueError, match=f"token id {stray} in row 1 is not in the voc"):
                call(ids)
    unsigned = np.array([[1, 2**64 + PSEUDO]], np.uint64)
    for ids in (unsigned, np.array([[1, 200]], np.uint8), np.array([[1, -5]], np.int8)):
        with pytest.raises(ValueError, match=f"token id {ids[0, 1]} in row 0"):
            MODEL(ids, adaptation)


@pytest.mark.parametrize("stray", [V, V + 1, -1, PSEUDO])
def test_a_template_takes_ids_of_the_vocabulary(stray):
    with pytest.raises(ValueError, match=f"token id {stray} in the text y is not in the .* of {V}"):
        Template("[P]*3 {x} {y}").fill(Words(), V, x=[1], y=[2, stray])


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


# -- texts and the slot

DECODER_WORDS = mp.load_tokenizer()
ENCODER_WORDS = mp.load_tokenizer("encoder")


@pytest.mark.parametrize(
    "template, text, line, shape",
    [
        ("{x} The movie is [MASK]", "I love this movie.", "The movie is ___", "prefix"),
        ("{x} Overall it was a [MASK] movie", "Fine.", "Overall it was a [z] movie", "cloze"),
        ("{x} A photo of a [MASK]", "", "A photo of a [z]", "prefix"),
        ("The capital of {x} is [MASK]", "Britain", "The capital of Britain is [MASK]", "prefix"),
        ("{x}' capital is [MASK]", "Britain", "Britain' capital is [MASK]", "prefix"),
        ("[MASK] is the capital of {x}", "Britain", "[MASK] is the capital of Britain", "cloze"),
    ],
)
def test_the_lines_of_why_prompts_work(template, text, line, shape):
    """The document writes the slot in three ways, and a template in one."""
    filled = "".join(Template(template).segments(text, "good"))
    line = line.replace("___", "good").replace("[z]", "good").replace("[MASK]", "good")
    assert filled in (line, f"{text} {line}") and Template(template).shape == shape


@pytest.mark.parametrize("tokenizer", [DECODER_WORDS, ENCODER_WORDS], ids=["gpt2", "bert"])
def test_a_filled_template_has_the_ids_of_its_text(tokenizer):
    template = Template("Review: {x}\n\nAll in all I [MASK] it, {y|lower}.")
    text, answer = {"x": "The plot was thin.", "y": "I SAID"}, "disliked"
    ids = template.encode(tokenizer, text)
    at = ids.index(SLOT)
    assert template.space == " " and ids.count(SLOT) == 1
    whole = tokenizer.encode("Review: The plot was thin.\n\nAll in all I disliked it, i said.").ids
    assert ids[:at] + continuation(tokenizer, " " + answer) + ids[at + 1 :] == whole


def test_filters_change_a_text():
    template = Template("{a|lower} {b|unpunctuated|upper} {c|uncapitalize} {d|capitalize}")
    filled = template.segments({"a": "So It Is", "b": "oh!?", "c": "But NOT", "d": "me."})
    assert "".join(filled) == "so it is OH but NOT Me."
    with pytest.raises(ValueError, match="'loud' is none of the filters lower, upper"):
        Template("{x|loud}")


def test_each_text_has_a_place_and_each_place_a_text():
    pair = Template("{text_b}? [MASK], {text_a}")
    assert "".join(pair.segments(("one", "two"), "yes")) == "two? yes, one"
    for template, text, message in (
        ("{x} [MASK]", ("one", "two"), "takes x; got text_a, text_b"),
        ("{text_a} {text_b} [MASK]", "one", "takes text_a, text_b; got one text: give a pair"),
        ("{x} [MASK]", {"y": "one"}, "takes x; got y"),
    ):
        with pytest.raises(ValueError, match=message):
            Template(template).segments(text)
    with pytest.raises(ValueError, match="more than one .MASK.: write one"):
        Template("{x} [MASK] [MASK]")


def test_only_texts_are_truncated_and_the_longest_first():
    template = Template("{x} and {y} and {z|whole} are [MASK].")
    texts = {"x": "the food was warm and the music was thin", "y": "it was", "z": "eight nine"}
    full = template.encode(DECODER_WORDS, texts)
    fixed = len(template.encode(DECODER_WORDS, texts | {"x": "", "y": ""}))
    for room in range(fixed + 2, len(full) + 1):
        ids = template.encode(DECODER_WORDS, texts, room)
        text = DECODER_WORDS.decode([i for i in ids if i != SLOT])
        assert len(ids) <= room and "eight nine are" in text and text.startswith("t")
    shorter = template.encode(DECODER_WORDS, texts, len(full) - 2)
    assert "and it was and" in DECODER_WORDS.decode([i for i in shorter if i != SLOT])
    with pytest.raises(ValueError, match="takes .* more tokens than there is room for"):
        template.encode(DECODER_WORDS, texts, fixed - 1)


def test_pseudo_tokens_and_a_slot_in_one_template():
    template = Template("[P]*2 {x} [P:was] [MASK]")
    first, *rest = template.encode(DECODER_WORDS, "So it was")
    assert [first, rest[0]] == [PSEUDO, PSEUDO - 1] and rest[-2:] == [PSEUDO - 2, SLOT]
    assert rest[1:-2] == DECODER_WORDS.encode("So it was").ids
    assert template.words == {2: "was"} and template.length == 3
    cls, *rest, sep = template.encode(ENCODER_WORDS, "So it was")
    assert [cls, sep] == ENCODER_WORDS.encode("").ids and rest[0] == PSEUDO


def test_a_soft_word_starts_as_the_word():
    model = mp.load()
    γ = mp.PseudoTokens("{x} [P:was] [P] [P:disliked]").attach(model, np.random.default_rng(0))
    h, W = γ.at["tokens"]["h"].data, model.tokens.W.data
    for i, word in ((0, " was"), (2, " disliked")):
        assert (h[i] == W[model.tokenizer.encode(word).ids].mean(0)).all()
    with pytest.raises(ValueError, match="none can start from a word such as 'was'"):
        mp.PTuning("{x} [P:was]")


def test_words_without_spaces():
    tokenizer = DECODER_WORDS  # of bytes, several for a character
    template = Template("{x}情感:[MASK]。")
    assert template.space == "" and template.shape == "cloze"
    ids = template.encode(tokenizer, "很好看")
    at = ids.index(SLOT)
    assert tokenizer.decode(ids[:at]) == "很好看情感:" and tokenizer.decode(ids[at + 1 :]) == "。"
