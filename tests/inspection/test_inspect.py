"""The numbers of an inspection are those of the library."""

import dataclasses
from dataclasses import replace as replace_fields

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.backend import host
from minipeft.autograd.nn import replace
from minipeft.autograd.tensor import Tensor
from minipeft.inspection.reader import log_softmax
from minipeft.methods.recorder import Recorder
from minipeft.model.heads import Headed
from minipeft.tasks.probing import every_layer
from minipeft.training.trainer import NonFinite
from tests.support import families as f

ONE_STACK = {name: f.NETWORKS[name] for name in ("gpt2", "llama", "bert", "mean", "spans")}
IN_TEMPLATE = "pseudo-tokens", "p-tuning", "p-tuning, half as wide", "p-tuning by an MLP"
one_stack = pytest.mark.parametrize("model", ONE_STACK.values(), ids=ONE_STACK)
NO_FRONT = [n for n in f.METHODS if n not in IN_TEMPLATE]  # the text is the last T rows


def look(model, name, **options):
    """Return the adaptation, ids (1, T) of a text, and the view of its inspection."""
    γ, ids = f.attached(name, model), f.batch(model, 1)[0]
    return γ, ids, mp.inspect(model, γ, ids, new_tokens=0, **options).views[0]


def logits(model, ids, γ=None):
    """Return the logits of one text, of a span classifier (2, T)."""
    z = host(model(ids, γ).data)
    return z[0].T if isinstance(model, mp.SpanClassifier) else z if z.ndim == 2 else z[0]


@one_stack
@pytest.mark.parametrize("name", NO_FRONT)
def test_changes_of_hidden_states(model, name):
    γ, ids, view = look(model, name)
    recorder, T = Recorder(), ids.shape[1]
    model(ids, mp.Chain(γ, recorder.attach(model)))
    stack, base = view.stacks[""], every_layer(model, ids)[:, 0]
    for l, (state, h) in enumerate(zip(recorder.states, base)):
        if state.shape[1] < T:  # the last block computes only what a head reads
            continue
        change = np.linalg.norm(host(state)[0, -T:] - h, axis=-1)
        np.testing.assert_allclose(stack.change[-T:, l], change, atol=1e-11)
        np.testing.assert_allclose(stack.norm[-T:, l], np.linalg.norm(h, axis=-1), rtol=1e-11)
    front = len(stack.tokens) - T
    assert np.isnan(stack.change[:front]).all() and not np.isnan(stack.change[front:]).any()
    assert stack.kinds == ["virtual"] * front + ["text"] * T


@one_stack
@pytest.mark.parametrize("name", NO_FRONT)
def test_likeliest_outputs_and_kl(model, name):
    γ, ids, view = look(model, name)
    log_p, log_p0 = (log_softmax(logits(model, ids, m)) for m in (γ, None))
    out, n = view.outputs, min(5, log_p.shape[1])
    best, best0 = (np.argsort(-x, kind="stable")[:, :n] for x in (log_p, log_p0))
    np.testing.assert_array_equal([out.words, out.base_words], [best, best0])
    both = np.concatenate([best, best0], 1)
    for found, expected in ((out.p, log_p), (out.base_p, log_p0)):
        expected = np.exp(np.take_along_axis(expected, both, 1))
        np.testing.assert_allclose(found, expected, atol=1e-11)
    kl = [sum(np.exp(a) * (a - b) for a, b in zip(*rows)) for rows in zip(log_p, log_p0)]
    np.testing.assert_allclose(out.kl, kl, atol=1e-11)


@pytest.mark.parametrize("name", ["lora", "houlsby", "bitfit", "prefix that shifts nothing"])
@f.decoders
def test_causes_are_the_adaptation_in_parts_of_its_places(model, name):
    γ, ids, view = look(model, name)
    c, at = view.causes, ids.shape[1] - 1
    inside = lambda path, here: path == here or path.startswith(f"{here}.")
    assert {"blocks.0", "blocks.1"} <= {*c.places}
    for here, only, without in zip(c.places, c.only, c.without):
        for found, wanted in ((only, True), (without, False)):
            some = {p: ps for p, ps in γ.at.items() if inside(p, here) is wanted}
            log_p = log_softmax(logits(model, ids, replace(γ, at=some)))[at]
            np.testing.assert_allclose(found, log_p[c.words], atol=1e-10)
    for found, m in ((c.base, None), (c.adapted, γ)):
        log_p = log_softmax(logits(model, ids, m))[at]
        np.testing.assert_allclose(found, log_p[c.words], atol=1e-10)
    assert c.words[0] == view.outputs.words[at, 0]


@one_stack
@f.methods
def test_the_slider_ends_at_the_base_and_passes_the_adaptation(model, name):
    γ, ids, view = look(model, name)
    s, out = view.slider, view.outputs
    one = s.scales.index(1.0)
    assert abs(s.kl[one] - out.kl[out.at]) < 1e-11
    np.testing.assert_array_equal(s.words[one], out.words[out.at])
    if s.how == "additive":
        assert abs(s.kl[0]) < 1e-11 and not s.change[0].any()
    assert s.how in {"additive", "gate", "both"} and len(s.kl) == len(s.scales)


@f.decoders
@pytest.mark.parametrize("name", ["lora", "prefix of 5", "prompt of 3", "norms"])
def test_the_lens_of_the_last_layer_is_the_output(model, name):
    γ, ids, view = look(model, name)
    stack, T = view.stacks[""], ids.shape[1]
    np.testing.assert_array_equal(stack.lens[-T:, -1], logits(model, ids, γ).argmax(-1))
    np.testing.assert_array_equal(stack.base_lens[-T:, -1], logits(model, ids).argmax(-1))


def test_the_lens_of_a_layer_is_the_model_without_the_later_blocks():
    class Skip(mp.Method):
        targets = r"blocks\.1$"

        def apply(self, layer, x):
            return x

    for model in f.DECODERS["gpt2"], f.ENCODERS["bert"]:
        _, ids, view = look(model, "lora")
        expected = logits(model, ids, Skip().attach(model)).argmax(-1)
        np.testing.assert_array_equal(view.stacks[""].base_lens[:, 1], expected)


@f.distinct_networks
@f.methods
def test_every_method_on_every_network(model, name):
    γ = f.attached(name, model)
    if model in f.SEQ2SEQ.values():  # the one of the other tests reads its text twice
        model, fields = object.__new__(mp.EncoderDecoder), vars(model)
        vars(model).update(fields)
    if isinstance(model, mp.EncoderDecoder) and name in IN_TEMPLATE:
        with pytest.raises(ValueError, match="set model.tokenizer"):
            mp.inspect(model, γ, [3, 1, 2])
        return
    found = mp.inspect(model, γ, [3, 1, 2], against=f.attached("lora", model), new_tokens=3)
    assert found.together < 1e-10
    writes = isinstance(model, mp.Decoder | mp.EncoderDecoder)
    assert found.new == 3 * writes or writes and found.new
    for view in found.views:
        for panel in view.panels:
            shape = len(panel.rows), len(panel.columns)
            assert panel.values.shape == shape and np.isfinite(panel.values).all()
            assert all(term.shape == shape for term in panel.terms.values())
            if panel.kind == "lambda":
                assert panel.note[1] < 1e-10
                assert ((0 <= panel.values) & (panel.values < 1)).all()
        assert view.params == sum(n for paths in view.at.values() for n in paths.values())


def test_generated_tokens_are_those_of_the_adaptation():
    model, γ = f.DECODERS["gpt2"], f.attached("prefix of 5", f.DECODERS["gpt2"])
    found = mp.inspect(model, γ, [3, 1, 2], new_tokens=4)
    new = mp.generate(model, [[3, 1, 2]], γ, max_new_tokens=4, temperature=0)[0]
    stack = found.views[0].stacks[""]
    assert stack.tokens[-4:] == list(map(str, new)) and stack.kinds[-4:] == ["new"] * 4
    assert stack.kinds[5:8] == ["text"] * 3 and found.views[0].outputs.at == 2


def test_a_template_is_put_around_the_text():
    model, γ = f.DECODERS["gpt2"], f.attached("pseudo-tokens", f.DECODERS["gpt2"])
    view = mp.inspect(model, γ, [3, 1], new_tokens=0).views[0]
    assert view.stacks[""].kinds == ["virtual"] * 2 + ["text"] * 2 + ["virtual"]
    ids = np.array([[-(10**6), -(10**6) - 1, 3, 1, -(10**6) - 2]])
    given = mp.inspect(model, γ, ids, new_tokens=0).views[0]
    np.testing.assert_array_equal(given.outputs.p, view.outputs.p)
    p = np.exp(log_softmax(logits(model, ids, γ)))[[2, 3]]
    np.testing.assert_allclose(view.outputs.p[:, 0], p.max(1), atol=1e-12)


def test_a_row_of_an_each_and_a_user_of_a_bank():
    model = f.DECODERS["gpt2"]
    γ, other = f.attached("lora", model), f.attached("prefix of 2", model)
    bank = mp.stack([f.attached("lora", model, 1), γ])
    expected = mp.inspect(model, γ, [3, 1, 2]).views[0].outputs.p
    for same in mp.Each([other, γ]).of([1]), bank.of([1]):
        np.testing.assert_allclose(mp.inspect(model, same, [3, 1, 2]).views[0].outputs.p, expected)


@pytest.mark.parametrize(
    "γ, ids, error",
    [
        ("lora", [[1, 2], [3, 4]], "reads one text"),
        ("lora", [1, 99], "not in the vocabulary"),
        ("each", [1, 2], "batch size 2"),
        ("bank", [1, 2], "bank of 2 users"),
        ("stranger", [1, 2], "was made for"),
    ],
)
def test_what_it_refuses(γ, ids, error):
    model = f.DECODERS["gpt2"]
    lora = f.attached("lora", model)
    given = {
        "lora": lora,
        "each": mp.Each([lora, None]),
        "bank": mp.stack([lora, lora]),
        "stranger": mp.LoRA().attach(f.decoder(f.ROTARY), np.random.default_rng(0)),
    }[γ]
    with pytest.raises(ValueError, match=error):
        mp.inspect(model, given, ids)


@pytest.mark.parametrize("ids", [None, "abc", [1.5], [[]]])
def test_ids_that_are_none(ids):
    with pytest.raises(ValueError, match="inspect reads one text|integers"):
        mp.inspect(f.DECODERS["gpt2"], None, ids)


def test_new_tokens_fill_the_positions_that_all_have():
    model = f.DECODERS["gpt2"]  # of 32 positions
    lora, prompt = f.attached("lora", model), f.attached("prompt of 7", model)
    count = lambda *users: (
        mp.inspect(model, users[0], [3] * 20, against=users[1], new_tokens=99).new
    )
    assert count(lora, None) == 12 and count(lora, prompt) == count(prompt, lora) == 5
    with pytest.raises(ValueError, match="new_tokens=-3 must be at least 0"):
        mp.inspect(model, lora, [3], new_tokens=-3)


def test_logits_that_are_not_finite():
    model = f.DECODERS["gpt2"]
    γ = f.attached("lora", model).map(lambda p: Tensor(p.data * 1e200))
    with np.errstate(all="ignore"), pytest.raises(NonFinite, match="NaN or infinite"):
        mp.inspect(model, γ, [3, 1, 2])


def test_examples_need_a_probe():
    with pytest.raises(ValueError, match="no Probe is inspected"):
        mp.inspect(f.DECODERS["gpt2"], None, [3], examples=[([1], "a")])


def test_no_adaptation_changes_nothing():
    view = mp.inspect(f.DECODERS["gpt2"], None, [3, 1, 2]).views[0]
    assert not view.stacks[""].change.any() and not view.outputs.kl.any()
    assert not view.panels and not view.causes.places and view.params == 0


def test_a_head_is_told_the_class():
    model = f.CLASSIFIERS["mean"]
    assert isinstance(model, Headed)
    out = look(model, "lora")[2].outputs
    assert out.rows == ["class"] and not out.per_token and out.words.shape == (1, f.C)
    assert dataclasses.asdict(out)["at"] == 0


def test_a_virtual_token_is_worth_the_loss_without_it():
    """Without positions, a prompt without a row is the prompt of the other rows."""
    model = f.nudged(f.decoder(f.NONE))
    γ, ids = f.attached("prompt of 3", f.DECODERS["gpt2"]), np.array([[3, 1, 2, 5]])
    γ = replace(γ, made_for=model.fingerprint())
    (worth,) = (
        p for p in mp.inspect(model, γ, ids, new_tokens=0).views[0].panels if p.kind == "worth"
    )
    (P,) = γ.parameters()
    for i in range(3):
        fewer = γ.map(lambda _, i=i: Tensor(np.delete(P.data, i, 0)))
        loss = float(model.loss(ids, ids, fewer)) - float(model.loss(ids, ids, γ))
        assert abs(worth.values[i, 0] - loss) < 1e-10


def test_the_worth_of_two_prompts_of_a_chain():
    model, ids = f.nudged(f.decoder(f.NONE)), np.array([[3, 1, 2, 5]])
    a, b = (f.attach_random(mp.PromptTuning(n, init="uniform"), model) for n in (2, 3))
    panels = mp.inspect(model, mp.Chain(a, b), ids, new_tokens=0).views[0].panels
    whole = float(model.loss(ids, ids, mp.Chain(a, b)))
    fewer = lambda γ, i: γ.map(lambda p: Tensor(np.delete(p.data, i, 0)))
    first, second = (panel.values[:, 0] for panel in panels if panel.kind == "worth")
    for i in range(2):
        loss = float(model.loss(ids, ids, mp.Chain(fewer(a, i), b)))
        assert abs(first[i] - (loss - whole)) < 1e-10
    for i in range(3):
        loss = float(model.loss(ids, ids, mp.Chain(a, fewer(b, i))))
        assert abs(second[i] - (loss - whole)) < 1e-10


def test_the_worth_of_a_prompt_beside_prefixes_of_an_encoder_decoder():
    """The prefix of the decoder has other keys, more or fewer, which are not the prompt's."""
    config = replace_fields(f.T5, positions="none")
    model, ids = mp.EncoderDecoder(config, np.random.default_rng(0)), np.array([[3, 1, 2]])
    prompt = f.attach_random(mp.PromptTuning(3, init="uniform"), model)
    for length in 2, 5:
        prefix = f.attach_random(mp.PrefixTuning(length), model)
        γ = mp.Chain(prompt, prefix)
        found = mp.inspect(model, γ, ids, new_tokens=4)
        (worth,) = (p.values[:, 0] for p in found.views[0].panels if p.kind == "worth")
        new = mp.generate(model, ids, γ, max_new_tokens=4, temperature=0, eos=[])
        loss = lambda m, new=new: float(model.loss(ids, new, m))
        for i in range(3):
            fewer = prompt.map(lambda p, i=i: Tensor(np.delete(p.data, i, 0)))
            assert abs(worth[i] - (loss(mp.Chain(fewer, prefix)) - loss(γ))) < 1e-5
