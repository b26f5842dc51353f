"""Tasks of an encoder–decoder, which writes a text, or the name of a class, for a text."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.adaptation.method import PLAIN
from minipeft.data.files import DataError
from minipeft.methods.template import IGNORED, Layout
from minipeft.tasks.builtin import built_in
from minipeft.tasks.forgetting import forgetting, general_text
from minipeft.tasks.text_to_text import TextToText, WriteLabel, joined
from minipeft.world import nli, sentiment, table, topic
from minipeft.world.vocabulary import END, SENTINELS, for_seq2seq, train_tokenizer

WORDS = train_tokenizer([f"the soup was hot and cold {i} good bad" for i in range(60)], 320)
TOKENIZER = for_seq2seq(WORDS)
CONFIG = mp.T5Config(
    TOKENIZER.get_vocab_size(),
    16,
    layers=1,
    decoder_layers=1,
    heads=2,
    length=64,
    decoder_start=TOKENIZER.token_to_id("[PAD]"),
)
BASE = mp.EncoderDecoder(CONFIG, np.random.default_rng(0))


def example(i):
    return f"the soup {i} was {('hot', 'cold')[i % 2]}", [("good", "bad")[i % 2]]


SPLITS = {
    "train": [example(i) for i in range(24)],
    "dev": [example(i) for i in range(24, 30)],
    "test": [example(i) for i in range(30, 36)],
}


@pytest.fixture(scope="module")
def task():
    return WriteLabel("soup", SPLITS, BASE, TOKENIZER)


def test_a_batch_has_texts_and_what_is_written(task):
    ids, labels, mask, token_types = task.collate(task.examples["test"][:3])
    assert token_types is None and ids.shape == mask.shape and len(labels) == 3
    for read, real, written, (text, (name,)) in zip(ids, mask, labels, SPLITS["test"]):
        assert read[real].tolist() == TOKENIZER.encode(text).ids
        assert written[written != IGNORED].tolist() == TOKENIZER.encode(name).ids
        assert read[real][-1] == written[written != IGNORED][-1] == TOKENIZER.token_to_id(END)


def test_a_template_is_before_the_end_of_a_text(task):
    ids = TOKENIZER.encode("soup").ids
    assert Layout("good {x} bad", TOKENIZER, BASE)(ids) == TOKENIZER.encode("goodsoup bad").ids
    bart = for_seq2seq(WORDS)
    bart.post_processor = type(bart.post_processor)(
        single=f"{END} $A {END}", special_tokens=[(END, bart.token_to_id(END))]
    )
    (start, *words, end) = bart.encode("soup").ids
    good, bad = (WORDS.encode(word).ids for word in ("good", " bad"))
    layout = Layout("good {x} bad", bart, BASE)
    assert layout([start, *words, end]) == [start, *good, *words, *bad, end]


def test_the_loss_is_that_of_the_written_tokens(task):
    total = count = 0
    for ids, label, _ in task.examples["dev"]:
        read = [CONFIG.decoder_start, *label[:-1]]
        z = BASE(np.array([ids]), decoder_ids=[read]).data[0].astype(float)
        log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
        total -= log_p[np.arange(len(label)), label].sum()
        count += len(label)
    assert task.loss(PLAIN, "dev") == pytest.approx(total / count, rel=1e-5)


def test_names_are_learnt(task):
    """From 24 examples, by full fine-tuning; the metric is the share of exact matches."""
    rng = np.random.default_rng(0)
    γ = task.attach(mp.FullFineTuning(), rng)
    network, batches = task.model_and_batches(γ, 8, rng)
    trainer = mp.Trainer(network, γ, mp.AdamW(γ.parameters(), 1e-2))
    before = task.loss(γ, "test")
    trainer.fit(batches, 60, progress=False)
    assert task.loss(γ, "test") < before / 4
    assert task.predict(γ, "test") == [name for _, (name,) in SPLITS["test"]]
    assert task.evaluate(γ, "test") == {"accuracy": 1.0}
    assert task.majority("test") == {"accuracy": 0.5}


def test_only_an_encoder_decoder_reads_one_text_and_writes_another():
    decoder = mp.Decoder(mp.Config(320, 8, layers=1, heads=2, length=64), np.random.default_rng(0))
    with pytest.raises(DataError, match="so its base must be an encoder-decoder"):
        TextToText("soup", SPLITS, decoder, WORDS)


# -- the built-in tasks


@pytest.fixture
def few(monkeypatch):
    """Few examples of each task."""
    for data in (nli, sentiment, table, topic):
        splits = data.splits(train=4, dev=4, test=4)
        monkeypatch.setattr(data, "splits", lambda splits=splits: splits)


def test_tasks_as_text_to_text(few):
    tasks = {name: built_in(name, BASE, TOKENIZER) for name in ("nli", "sentiment", "table")}
    text, (name,) = tasks["nli"].splits["test"][0]
    (premise, hypothesis), label = nli.splits()["test"][0]
    words = {"entailment": " so", "neutral": " perhaps", "contradiction": " not"}
    assert text == f"{premise} {hypothesis}" and name == words[label]
    names = {name for _, (name,) in tasks["sentiment"].splits["train"]}
    assert names == {" bad", " good"} and "BLEU" in tasks["table"].metrics
    assert tasks["table"].splits["test"] == table.splits()["test"]


@pytest.mark.parametrize("name", ["tags", "style"])
def test_other_tasks_are_refused(name):
    with pytest.raises(DataError, match=f"the task {name} is not for an encoder-decoder.*nli"):
        built_in(name, BASE, TOKENIZER)


def test_joined():
    assert joined("one") == "one"
    assert joined(("one", "two"), ("a", "b")) == "a: one b: two"


# -- what an adaptation forgets


def test_what_is_forgotten_is_measured_on_spans(task):
    text = general_text(BASE, TOKENIZER)
    sentinels = [*map(TOKENIZER.token_to_id, SENTINELS)]
    assert (np.isin(text.ids, sentinels).sum(1) == np.isin(text.labels, sentinels).sum(1) - 1).all()
    γ = task.attach(mp.LoRA(), np.random.default_rng(0))
    assert forgetting(task, γ, text) == pytest.approx(0, abs=1e-6)
    for p in γ.parameters():
        p.data += 0.5
    expected = float(BASE.loss(text.ids, text.labels, γ)) - float(BASE.loss(text.ids, text.labels))
    assert forgetting(task, γ, text) == pytest.approx(expected, rel=1e-3)
    assert general_text(BASE, WORDS) is None
