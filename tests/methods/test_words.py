"""Starts from words: token ids, or text for the model's tokenizer."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.nn import replace
from tests.support.families import GPT2, decoder, nudged
from tests.support.tokenizers import letters

MODEL = replace(nudged(decoder(GPT2)), tokenizer=letters())  # of "b c": the ids 0, 1, 2
W = MODEL.tokens.W.data
KINDS = mp.PromptTuning, mp.PseudoTokens, mp.MultitaskPrompt, mp.PrefixTuning, mp.DeepPrompt


def attach(method, model=MODEL):
    return method.attach(model, np.random.default_rng(0))


@pytest.mark.parametrize("kind", [*KINDS, mp.PTuningV2])
def test_a_text_is_its_token_ids_with_special_tokens(kind):
    text, ids = (attach(kind(words=words)) for words in ("b c", (0, 1, 2)))
    assert text.method.words == "b c" and ids.method.words == (0, 1, 2)
    for p, q in zip(text.parameters(), ids.parameters(), strict=True):
        assert np.array_equal(p.data, q.data)


def test_a_prompt_repeats_or_cuts_its_words():
    at = lambda k: attach(mp.PromptTuning(k, words="b c")).at["tokens"]["P"].data
    assert np.array_equal(at(8), W[[0, 1, 2, 0, 1, 2, 0, 1]]) and np.array_equal(at(2), W[[0, 1]])


@pytest.mark.parametrize("kind", [mp.PrefixTuning, mp.DeepPrompt, mp.PTuningV2])
def test_the_words_of_a_prefix_decide_its_length_unless_it_is_given(kind):
    assert kind().length == 10 and kind(words=(4, 5)).length == 2
    assert attach(kind(words="b c")).method.length == 3
    encoded = attach(mp.Encoded(kind(words="b c"), mlp_width=4))
    assert encoded.method.method.length == 3 and encoded.resolve().parameters()[0].shape[0] == 3
    long, same = attach(kind(5, words="b c")), attach(kind(words=(0, 1, 2, 0, 1)))
    for p, q in zip(long.parameters(), same.parameters(), strict=True):
        assert np.array_equal(p.data, q.data)


def test_labels_are_texts_without_special_tokens():
    P = attach(mp.PromptTuning(3, "labels", ("b c", "d"))).at["tokens"]["P"].data
    assert np.allclose(P[:2], [(W[1] + W[2]) / 2, W[3]])
    mixed = attach(mp.PromptTuning(3, "labels", ("b c", (3,)))).at["tokens"]["P"].data
    assert np.array_equal(mixed, P)


@pytest.mark.parametrize(
    "method, says",
    [
        (lambda: mp.PromptTuning(init="zeros"), "must be one of vocabulary, uniform, text, labels"),
        (lambda: mp.PromptTuning(init="text"), "init='text' needs words=, such as 'Is it good"),
        (lambda: mp.PromptTuning(init="labels"), r"needs words=, such as \('good', 'bad'\)"),
        (lambda: mp.PromptTuning(init="uniform", words="b"), "uses no words: leave words= out"),
        (lambda: mp.PrefixTuning(init="normal", words="b"), "uses no words: leave words= out"),
        (lambda: mp.PromptTuning(words=("b", "c")), r"init='labels' for .*; got \('b', 'c'\)"),
        (lambda: mp.PseudoTokens(words=((1,), (2,))), r"init='labels' for .*; got \(\(1,\)"),
        (lambda: mp.PromptTuning(init="text", words=("b", (3,))), r"such as 'Is it .*; got \('b'"),
        (lambda: mp.PromptTuning(init="labels", words="b c"), r"\('good', 'bad'\).*; got 'b c'"),
        (lambda: mp.PromptTuning(init="labels", words=(1, 2)), r"\(3,\)\); got \(1, 2\)"),
        (lambda: mp.PrefixTuning(words=("b", "c")), r"words=\('b', 'c'\) must be one text"),
        *((lambda w=w: mp.PrefixTuning(words=w), "a text or token ids") for w in ("", 5, (1, "b"))),
    ],
)
def test_words_that_do_not_fit_are_one_clear_error(method, says):
    with pytest.raises(ValueError, match=says):
        method()


def test_a_text_without_tokens_or_a_tokenizer_is_refused():
    silent = replace(MODEL, tokenizer=letters())
    silent.tokenizer.post_processor = None
    with pytest.raises(ValueError, match="words=' ' has no tokens"):
        attach(mp.PromptTuning(words=" "), silent)
    with pytest.raises(ValueError, match="set model.tokenizer, or give token ids"):
        attach(mp.PrefixTuning(words="b c"), replace(MODEL, tokenizer=None))


def test_a_model_has_the_tokenizer_of_its_folder(tmp_path):
    mp.save(MODEL, tmp_path / "with", letters())
    mp.save(MODEL, tmp_path / "without")
    model, bare = mp.load(tmp_path / "with"), mp.load(tmp_path / "without")
    for m in (model, mp.Classifier(model, 2), model.astype(np.float64)):
        assert attach(mp.PrefixTuning(words="b c"), m).method.length == 3
    assert bare.tokenizer is None and mp.load().tokenizer.encode("The soup").ids


@pytest.mark.parametrize("kind", [*KINDS, lambda words: mp.Encoded(mp.DeepPrompt(words=words))])
def test_an_adaptation_keeps_its_text_and_is_read_without_a_tokenizer(tmp_path, kind):
    γ = attach(mp.Chain(mp.LoRA(2), kind(words="b c")))
    for p in γ.parameters():
        p.data = p.data + 0.1
    mp.save(γ, tmp_path / "a", dtype=np.float64)
    again = mp.load_adaptation(tmp_path / "a", replace(MODEL, tokenizer=None), resume=True)
    assert repr(again) == repr(γ) and "words='b c'" in repr(again)
    for p, q in zip(again.parameters(), γ.parameters(), strict=True):
        assert np.array_equal(p.data, q.data)


def test_words_on_the_command_line(base, tmp_path, run, capsys):
    text = base.parent / "world.txt"
    flags = ["--model", base, "--data", text, "--steps", 1, "--json"]
    assert run("train", "prompt", *flags, "--words", "The soup was", "--out", tmp_path / "a") == 0
    γ = mp.load_adaptation(tmp_path / "a", mp.load(base))
    assert γ.method.words == "The soup was"
    assert run("compare", "--words", "The soup", "--methods", "lora") == 2
    assert "--words is for prompt, pseudo, multitask" in capsys.readouterr().err
