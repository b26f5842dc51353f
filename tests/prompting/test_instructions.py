"""Prompted tasks: their prompts and answers, mixtures without what is held out, and scores."""

from collections import Counter

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

import minipeft as mp
from minipeft.methods.template import Template
from minipeft.prompting.classifier import PromptClassifier
from minipeft.prompting.instructions import (
    Encoder,
    Prompt,
    PromptedTask,
    list_options,
    rank_options,
)
from minipeft.prompting.mixture import Mixture, check_no_leak, hold_out, mixing_rates

OPINION = [Prompt(Template(text)) for text in ("{x} Good or bad? [MASK]", "{x} It was [MASK]")]
INVERTED = Prompt(Template("Write something {answer}. [MASK]"), Template("{x}"))
REVIEWS = [
    {"x": "The plot was thin.", "answer": "bad"},
    {"x": "The music was warm and the jokes were sharp.", "answer": "good"},
    {"x": "The soup was cold.", "answer": "bad"},
]


def task(cluster="sentiment", prompts=OPINION, examples=REVIEWS, options=("bad", "good")):
    return PromptedTask(cluster, prompts, examples, options)


def others(name, n):
    """Return a task of a cluster of its own with n examples."""
    return task(name, examples=[{"x": f"{name} {i}", "answer": "bad"} for i in range(n)])


@pytest.fixture(scope="module")
def decoder(base):
    return mp.load(base)


@pytest.fixture(scope="module")
def writer(decoder):
    config = mp.T5Config(vocabulary=300, width=16, layers=1, decoder_layers=1, heads=2, length=64)
    return mp.EncoderDecoder(config, np.random.default_rng(0))


def first_batch(model, tokenizer=None):
    mixture, rng = Mixture({"one": task()}), np.random.default_rng(0)
    return next(mixture.batches(model, 4, rng, tokenizer=tokenizer))


# -- prompts and answers


def test_the_right_answer_comes_first_and_the_options_can_be_listed():
    one = task(prompts=[*OPINION, INVERTED])
    assert one.answers(OPINION[0], REVIEWS[1]) == ["good", "bad"]
    assert one.answers(INVERTED, REVIEWS[0]) == ["The plot was thin."]
    described = task(
        prompts=[Prompt(Template("{x} [MASK]"), Template("{y}"))],
        options=(),
        examples=[{"x": "a", "y": "b"}],
    )
    assert described.answers(described.prompts[0], {"x": "a", "y": "b"}) == ["b"]
    assert one.texts(REVIEWS[0])["options_"] == list_options(one.options)
    assert list_options(one.options) == "OPTIONS:\n- bad\n- good"


def test_prompts_that_do_not_fit_the_examples_are_refused():
    with pytest.raises(ValueError, match="must have its slot.* at the end"):
        task(prompts=[Prompt(Template("{x} I [MASK] it."))])
    with pytest.raises(ValueError, match="an example has no text 'y'"):
        task(prompts=[Prompt(Template("{x} [MASK]"), Template("{y}"))])
    with pytest.raises(ValueError, match="the answer 'good' is none of bad, fair"):
        task(options=("bad", "fair"))


def test_a_decoder_reads_a_prompt_and_writes_the_answer_after_it(decoder):
    encode, decode = Encoder(decoder), decoder.tokenizer.decode
    prompt, answers = encode(task(), OPINION[1], REVIEWS[1])
    (end,) = mp.eos_ids(decoder, decoder.tokenizer)
    assert decode(prompt + answers[0][:-1]) == f"{REVIEWS[1]['x']} It was good"
    assert decode(prompt + answers[1][:-1]) == f"{REVIEWS[1]['x']} It was bad"
    assert [answer[-1] for answer in answers] == [end, end]
    ids, labels, mask = first_batch(decoder)
    assert (labels[labels >= 0] == ids[labels >= 0]).all() and mask[labels >= 0].all()
    written = [decode(row[row >= 0].tolist()) for row in labels]
    assert {*written} <= {" good", " bad"}


def test_a_long_text_is_truncated_and_the_instruction_is_not(decoder):
    long = {"x": "The plot was thin. " * 80, "answer": "bad"}
    encode = Encoder(decoder)
    prompt, answers = encode(task(examples=[long]), OPINION[0], long)
    assert len(prompt) + max(map(len, answers)) == decoder.config.length
    assert decoder.tokenizer.decode(prompt).endswith("Good or bad?")
    prefix = mp.PrefixTuning(5).attach(decoder, np.random.default_rng(0))
    shorter, _ = Encoder(decoder, adaptation=prefix)(task(examples=[long]), OPINION[0], long)
    assert len(prompt) - len(shorter) == 5


def test_an_encoder_decoder_reads_the_prompt_and_writes_the_answer(decoder, writer):
    ids, labels, mask = first_batch(writer, decoder.tokenizer)
    decode = lambda row, real: decoder.tokenizer.decode(row[real].tolist())
    for row, real, label in zip(ids, mask, labels):
        assert decode(row, real).endswith(("Good or bad?", "It was"))
        assert decode(label, label >= 0) in (" good", " bad")
    assert np.isfinite(float(writer.loss(ids, labels, mask=mask)))


def test_an_encoder_reads_the_special_tokens_after_a_text(decoder, writer):
    tokenizer = Tokenizer.from_str(decoder.tokenizer.to_str())
    end = ("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))
    tokenizer.post_processor = TemplateProcessing(single=f"$A {end[0]}", special_tokens=[end])
    prompt, answers = Encoder(writer, tokenizer)(task(), OPINION[0], REVIEWS[0])
    assert prompt[-1] == end[1] and prompt.count(end[1]) == 1
    assert all(answer[-1] == end[1] and answer.count(end[1]) == 1 for answer in answers)


# -- mixtures


def test_tasks_are_drawn_in_proportion_up_to_the_limit():
    sizes = {"small": 10, "middle": 30, "large": 500}
    mixture = Mixture({name: others(name, n) for name, n in sizes.items()}, limit=60)
    assert mixture.rates.tolist() == [0.1, 0.3, 0.6]
    rng = np.random.default_rng(0)
    drawn = [mixture.draw(rng) for _ in range(2000)]
    counts = Counter(task.cluster for task, *_ in drawn)
    for name, rate in zip(sizes, mixture.rates):
        assert abs(counts[name] / 2000 - rate) < 4 * (rate * (1 - rate) / 2000) ** 0.5
    assert {prompt for _, prompt, _ in drawn} == {*OPINION}
    assert len({example["x"] for _, _, example in drawn if "small" in example["x"]}) == 10


def test_mixing_rates_above_the_limit_are_equal():
    assert mixing_rates([4000, 9000, 3001], 3000).tolist() == [1 / 3] * 3
    with pytest.raises(ValueError, match="limit=0 must be at least 1"):
        mixing_rates([4000], 0)


def test_a_cluster_is_held_out_whole():
    tasks = {"a": others("nli", 2), "b": others("topic", 2), "c": others("nli", 3)}
    train, held = hold_out(tasks, "nli")
    assert [*train] == ["b"] and [*held] == ["a", "c"]
    with pytest.raises(ValueError, match="cluster='table' must be one of .*: nli, topic"):
        hold_out(tasks, "table")
    with pytest.raises(ValueError, match="must be one of several clusters"):
        hold_out({"a": tasks["a"]}, "nli")


def test_what_is_held_out_is_refused_in_a_mixture():
    held = {"reviews": task()}
    with pytest.raises(ValueError, match="the task liked is of the cluster sentiment, which is"):
        Mixture({"b": others("topic", 2), "liked": task(prompts=OPINION[:1])}, held_out=held)
    copied = task("topic", examples=[REVIEWS[0] | {"answer": "good"}])
    with pytest.raises(ValueError, match="the task b has 1 texts .* 'The plot was thin.'"):
        Mixture({"b": copied}, held_out=held)
    check_no_leak({"b": others("topic", 2)}, held)


# -- rank classification


def test_the_option_with_the_highest_probability_is_predicted(decoder):
    one = task(options=("bad", "very good", "good"))
    expected = []
    chosen = np.random.default_rng(1).integers(0, 2, len(REVIEWS))
    assert {*chosen} == {0, 1}
    for i, example in zip(chosen, REVIEWS):
        template = OPINION[i].template
        text = template.text.replace("{x}", example["x"]).removesuffix(" [MASK]")
        prompt = decoder.tokenizer.encode(text).ids
        losses = []
        for option in one.options:
            answer = decoder.tokenizer.encode(f" {option}").ids
            ids = np.array([prompt + answer])
            labels = np.array([[-100] * len(prompt) + answer])
            losses.append(float(decoder.loss(ids, labels, count=1)))
        expected.append(one.options[np.argmin(losses)])
    assert rank_options(decoder, one, seed=1) == expected
    before = rank_options(decoder, one, shots=REVIEWS[:2])
    assert len(before) == 3 and {*before} <= {*one.options}


def test_each_example_is_read_in_one_prompt_that_asks_for_the_answer(decoder, monkeypatch):
    read = lambda self, texts, adaptation: [(self.template, text["x"]) for text in texts]
    monkeypatch.setattr(PromptClassifier, "predict", read)
    examples = [{"x": str(i), "answer": "bad"} for i in range(40)]
    pairs = rank_options(decoder, task(prompts=[INVERTED, *OPINION], examples=examples))
    assert [text for _, text in pairs] == [example["x"] for example in examples]
    counts = Counter(template for template, _ in pairs)
    assert counts.keys() == {prompt.template for prompt in OPINION} and min(counts.values()) > 10
    with pytest.raises(ValueError, match="no prompt of the task has the answer"):
        rank_options(decoder, task(prompts=[INVERTED]))
    again = rank_options(decoder, task(prompts=OPINION, examples=examples), seed=1)
    assert again != pairs


def test_instruction_tuning_teaches_the_tasks_of_the_mixture(decoder):
    method = mp.FullFineTuning().attach(decoder, np.random.default_rng(0))
    trainer = mp.Trainer(decoder, method, mp.AdamW(method.parameters(), 1e-2), workers=1)
    batches = Mixture({"one": task()}).batches(decoder, 8, np.random.default_rng(0))
    trainer.fit(batches, 60, progress=False)
    assert rank_options(decoder, task(), method) == [x["answer"] for x in REVIEWS]
