"""What an adaptation forgets: the rise of the loss on held-out general text."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.data.files import DataError
from minipeft.methods.template import IGNORED
from minipeft.tasks import forgetting as module
from minipeft.tasks.classify import Classify
from minipeft.tasks.forgetting import PASSAGES, forgetting, general_text
from minipeft.tasks.write import Imitate
from minipeft.world.vocabulary import MASK, for_encoder, train_tokenizer

V, LENGTH = 320, 72  # words, and positions: passages have 36 tokens


def rng():
    return np.random.default_rng(0)


TOKENIZER = train_tokenizer([f"{a} soup {b}." for a in range(9) for b in range(9)], V - 20)
FOR_ENCODER = for_encoder(TOKENIZER)
SIZE = {"width": 16, "layers": 2, "heads": 2, "length": LENGTH}
DECODER = mp.Decoder(mp.Config(V, **SIZE), rng())
ENCODER = mp.MaskedLM(mp.BertConfig(V, **SIZE), rng())
BASES = {"decoder": (DECODER, TOKENIZER), "encoder": (ENCODER, FOR_ENCODER)}
bases = pytest.mark.parametrize("base, tokenizer", BASES.values(), ids=BASES)


def classify(base, tokenizer):
    splits = {s: [(f"soup {i}", "ab"[i % 2]) for i in range(8)] for s in ("train", "dev", "test")}
    return Classify("soup", splits, base, tokenizer)


def attached(task, method):
    """Return the method attached for the task, with random parameters."""
    adaptation, draw = task.attach(method, rng()), rng()
    for p in adaptation.parameters():
        p.data = (p.data + 0.3 * draw.normal(size=p.shape)).astype(np.float32)
    return adaptation


def literal_loss(base, ids, labels, adaptation=None):
    """Return the mean of -log p of the labels of one passage, which a decoder predicts earlier."""
    z = base(ids[None], adaptation).data[0].astype(float)
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    shift = 1 if base.causal else 0
    at = np.flatnonzero(labels != IGNORED)
    return [-log_p[t - shift, labels[t]] for t in at]


def literal_mean(text, adaptations):
    rows = zip(text.ids, text.labels, adaptations, strict=True)
    return np.mean(np.concatenate([literal_loss(text.base, *row) for row in rows]))


# -- the text


@bases
def test_text_of_a_built_in_base_is_of_its_world_and_always_the_same(base, tokenizer):
    text, again = general_text(base, tokenizer), general_text(base, tokenizer)
    assert np.array_equal(text.ids, again.ids) and np.array_equal(text.labels, again.labels)
    assert text.ids.shape == text.labels.shape == (PASSAGES, LENGTH // 2)
    assert not tokenizer.truncation


def test_a_decoder_predicts_every_token_of_a_passage_but_the_first():
    text = general_text(DECODER, TOKENIZER)
    assert (text.labels[:, 0] == IGNORED).all()
    assert np.array_equal(text.labels[:, 1:], text.ids[:, 1:])


def test_an_encoder_predicts_a_seventh_of_the_words_where_it_reads_a_mask():
    text, mask = general_text(ENCODER, FOR_ENCODER), FOR_ENCODER.token_to_id(MASK)
    assert np.array_equal(text.ids == mask, text.labels != IGNORED)
    assert 0.1 < (text.ids == mask).mean() < 0.2
    first, last = FOR_ENCODER.encode("").ids
    assert (text.ids[:, 0] == first).all() and (text.ids[:, -1] == last).all()


@bases
def test_text_of_another_base_is_in_a_file(base, tokenizer, tmp_path):
    own = base.map(lambda t: t)
    own.folder = "folder"
    assert general_text(own, tokenizer) is None
    path = tmp_path / "general.txt"
    path.write_text("the soup was cold. " * 9)
    text = general_text(own, tokenizer, path)
    assert text.ids.shape[1] == LENGTH // 2 and 1 <= len(text.ids) < PASSAGES
    path.write_text("the soup")
    with pytest.raises(DataError, match="general.txt: fewer than 36 tokens.*use more text"):
        general_text(base, tokenizer, path)


def test_passages_are_from_all_of_a_long_file(tmp_path, monkeypatch):
    path = tmp_path / "general.txt"
    path.write_text(" ".join(str(i) for i in range(2000)))

    def shown():
        return [
            TOKENIZER.decode(row) for row in general_text(DECODER, TOKENIZER, path).ids.tolist()
        ]

    first, *_, last = shown()
    assert len(shown()) == PASSAGES and first.startswith("0 1 2 ") and " 18" in last
    monkeypatch.setattr(module, "CHARACTERS", 4000)  # to about the number 1000
    assert shown()[0] == first and " 9" in shown()[-1]


@pytest.mark.parametrize("make", [mp.Features, lambda base: mp.Classifier(base, 2)])
def test_a_base_that_predicts_no_words_has_no_text(make, tmp_path):
    base, path = make(ENCODER), tmp_path / "general.txt"
    assert general_text(base, FOR_ENCODER) is None
    with pytest.raises(DataError, match="general.txt: general text needs a base that predicts"):
        general_text(base, FOR_ENCODER, path)
    assert general_text(ENCODER, TOKENIZER) is None  # it has no [MASK]


# -- the loss


@bases
def test_the_loss_of_the_base_is_that_of_each_passage_alone(base, tokenizer):
    text = general_text(base, tokenizer)
    assert abs(text.base_loss - literal_mean(text, [None] * PASSAGES)) < 1e-5


@bases
@pytest.mark.parametrize("name", mp.METHODS)
def test_forgetting_is_the_rise_of_the_loss(base, tokenizer, name):
    task, text = classify(base, tokenizer), general_text(base, tokenizer)
    adaptation = attached(task, mp.METHODS[name]())
    forgets, layout = forgetting(task, adaptation, text), task.layout(adaptation)
    ids = np.array([layout(row) for row in text.ids])
    labels = np.array([layout(row, IGNORED) for row in text.labels])
    with_it = float(base.loss(ids, labels, adaptation))
    without = float(base.loss(text.ids, text.labels))
    assert abs(forgets - (with_it - without)) < 1e-4
    assert (forgets == 0) == (name == "probe")


def test_each_passage_is_read_by_another_user():
    class Users(Imitate):
        users = 3

    pairs = [(f"soup {i}", [" 1."]) for i in range(9)]
    task = Users("soup", dict.fromkeys(("train", "dev"), pairs), DECODER, TOKENIZER)
    bank, text = attached(task, mp.LoRA(2)), general_text(DECODER, TOKENIZER)
    users = [bank.user(i % 3) for i in range(PASSAGES)]
    expected = literal_mean(text, users) - text.base_loss
    assert abs(forgetting(task, bank, text) - expected) < 1e-4


def test_without_text_or_room_there_is_no_number():
    task, text = classify(DECODER, TOKENIZER), general_text(DECODER, TOKENIZER)
    assert forgetting(task, task.attach(mp.LoRA(), rng()), None) is None
    fits = [mp.PromptTuning(n) for n in (LENGTH // 2, LENGTH // 2 + 1)]
    numbers = [forgetting(task, task.attach(method, rng()), text) for method in fits]
    assert numbers[0] is not None and numbers[1] is None
