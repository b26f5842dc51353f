"""Tasks: what is read of an example, what is said of it, and how that is scored."""

from functools import partial

import numpy as np
import pytest
from minipeft.data.files.files import DataError
from minipeft.tasks.base.base import Task
from minipeft.tasks.base.builtin import TASKS, built_in
from minipeft.tasks.base.classify import Classify
from minipeft.tasks.base.tag import Tag
from minipeft.tasks.base.write import Imitate, Write

import minipeft as mp
from minipeft.commands.evaluation import encoded
from minipeft.data.splits import split
from minipeft.methods.template import NONE
from minipeft.world.vocabulary import END, train_tokenizer

WORDS = "the soup was hot cold fresh stale and bread tea at noon".split()
CLASSES = {"hot": "good", "fresh": "good", "cold": "bad", "stale": "bad"}


def sentence(i):
    """A text and its one telling word; all differ."""
    rng = np.random.default_rng(i)
    word = list(CLASSES)[i % 4]
    return f"{' '.join(rng.choice(WORDS[-5:], 2 + i % 3))} {i} was {word}", word


def spans(text):
    """Every word with its class as a tag."""
    ends = np.cumsum([len(w) + 1 for w in text.split()]) - 1
    return [
        (int(end) - len(w), int(end), f"B-{CLASSES[w]}" if w in CLASSES else "X")
        for w, end in zip(text.split(), ends)
    ]


def classified(i):
    text, word = sentence(i)
    return text, CLASSES[word]


def tagged(i):
    text, _ = sentence(i)
    return text, spans(text)


def written(i):
    text, word = sentence(i)
    return text, [f" and so it was {CLASSES[word]}.", f" so it was all {CLASSES[word]}."]


def imitated(i):
    text, _ = sentence(i)
    return text, [" by the even." if i % Imitate.users % 2 else " by the odd."]


KINDS = {Classify: classified, Tag: tagged, Write: written, Imitate: imitated}
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def tokenizer():
    texts = [sentence(i)[0] for i in range(100)] + [" and good bad so by the even odd."] * 9
    return train_tokenizer(texts, 320)


@pytest.fixture(scope="module")
def base():
    config = mp.Config(vocabulary=320, width=16, layers=2, heads=2, length=72)
    return mp.Decoder(config, np.random.default_rng(0))


def made(kind, base, tokenizer, **splits):
    splits = splits or {"train": range(200), "dev": range(200, 300), "test": range(300, 400)}
    examples = {split: [KINDS[kind](i) for i in span] for split, span in splits.items()}
    return kind("made", examples, base, tokenizer)


def learned(task, rate, steps):
    adaptation = task.attach(lambda: mp.FullFineTuning(), np.random.default_rng(0))
    model, batches = task.training(adaptation, 32, np.random.default_rng(0))
    trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), rate))
    trainer.fit(batches, steps, progress=False)
    return adaptation


@pytest.mark.parametrize("kind, steps", [(Classify, 60), (Tag, 60), (Write, 300), (Imitate, 100)])
def test_what_is_trained_beats_what_is_said_most_often(kind, steps, base, tokenizer):
    task = made(kind, base, tokenizer)
    adaptation = learned(task, 1e-2, steps)
    metric = next(iter(task.metrics))
    assert task.scores(adaptation, "test")[metric] > task.majority("test")[metric] + 0.1


@kinds
def test_what_is_said_of_an_example_does_not_depend_on_its_batch(kind, base, tokenizer):
    task = made(kind, base, tokenizer)
    adaptation = learned(task, 1e-2, 5)
    assert task.said(adaptation, "test", size=7) == task.said(adaptation, "test", size=64)


@kinds
def test_saying_what_is_true_scores_1(kind, base, tokenizer):
    task = made(kind, base, tokenizer)
    true = task.true("test")
    said = [wanted[-1] for wanted in true] if kind in (Write, Imitate) else true
    assert set(task.measured(said, "test").values()) == {1.0}


def test_a_tag_is_asked_at_the_last_token_of_its_word(base, tokenizer):
    task = made(Tag, base, tokenizer)
    for (_, own), (ids, labels, _) in zip(task.splits["test"], task.examples["test"]):
        labelled_positions = [i for i, y in enumerate(labels) if y != NONE]
        assert [task.classes[labels[i]] for i in labelled_positions] == [tag for _, _, tag in own]
        ends = [len(tokenizer.decode(ids[: i + 1])) for i in labelled_positions]
        assert ends == [end for _, end, _ in own]


def test_only_what_is_wanted_is_learned_and_then_the_end(base, tokenizer):
    task = made(Write, base, tokenizer)
    ids, labels, mask, _ = task.batch(task.examples["train"][:6])
    for row, label, real, (text, [wanted]) in zip(ids, labels, mask, task.splits["train"]):
        end = tokenizer.token_to_id(END)
        assert tokenizer.decode(row[real & (row != end)].tolist()) == text + wanted
        own = label[label != NONE]
        assert tokenizer.decode(own[:-1].tolist()) == wanted and own[-1] == end
    assert len(task.splits["train"]) == 2 * 200  # each of the wanted ones


def test_every_user_has_a_row_and_an_adaptation(base, tokenizer):
    task = made(Imitate, base, tokenizer)
    adaptation = task.attach(lambda: mp.LoRA(rank=1), np.random.default_rng(0))
    assert {p.shape[0] for p in adaptation.parameters()} == {task.users}
    _, batches = task.training(adaptation, 7, np.random.default_rng(0))
    ids, labels, _, _ = next(batches)
    for user, label in enumerate(labels):
        said = tokenizer.decode(label[label != NONE][:-1].tolist())
        assert said == (" by the even." if user % 2 else " by the odd.")
    before = task.said(adaptation, "test")
    for p in adaptation.parameters():
        p.data[3] = np.random.default_rng(1).normal(size=p.shape[1:])
    changed = [a != b for a, b in zip(before, task.said(adaptation, "test"))]
    assert {i % task.users for i, c in enumerate(changed) if c} == {3}


@pytest.mark.parametrize("kind", [Classify, Tag])
@pytest.mark.parametrize("family", [mp.Decoder, mp.MaskedLM])
def test_a_probe_learns_from_features_what_it_learns_through_the_model(kind, family, tokenizer):
    config = mp.BertConfig if family is mp.MaskedLM else mp.Config
    base = family(config(320, 16, layers=2, heads=2, length=72), np.random.default_rng(0))
    task = made(kind, base.astype(np.float64), tokenizer)

    def trained(training):
        """By AdamW, which would make much of little: at most 1e-12 apart after ten steps."""
        probe = task.attach(lambda: mp.Probe(), np.random.default_rng(0))
        network, batches = training(probe, 8, np.random.default_rng(0))
        trainer = mp.Trainer(network, probe, mp.AdamW(probe.parameters(), 1e-2))
        return network, trainer.fit(batches, 10, progress=False), probe.parameters()[0].data

    head, losses, W = trained(task.training)
    network, slow, V = trained(partial(Task.training, task))
    assert np.abs(W - V).max() < 1e-12 < 0.02 < np.abs(V).max()
    assert losses == pytest.approx(slow, rel=1e-13)
    assert network is task.network and head.score is network.score
    assert not hasattr(head, "blocks")


@pytest.mark.parametrize("kind", [Classify, Tag])
def test_features_are_of_the_base_that_a_task_is_on(kind, base, tokenizer):
    task = made(kind, base, tokenizer)
    other = mp.Decoder(base.config, np.random.default_rng(1))
    x, y = task.features[0][0], task.on(other).features[0][0]
    assert x.shape == y.shape and not np.allclose(x, y)
    assert np.array_equal(y, made(kind, other, tokenizer).features[0][0])


def test_a_pair_is_one_text_to_a_decoder(base, tokenizer):
    pairs = [(("the soup was", "hot"), "yes"), (("the tea was", "cold"), "no")]
    task = Classify("pairs", {"train": pairs}, base, tokenizer)
    assert task.examples["train"][0][0] == tokenizer.encode("the soup was hot").ids


def test_long_texts_are_cut_and_counted(base, tokenizer):
    long = [("hot " * 60, "good"), ("cold", "bad")]
    task = Classify("long", {"train": long}, base, tokenizer)
    assert [len(ids) for ids, _, _ in task.examples["train"]][0] == 72 - 32
    assert task.shortened == 1


def test_long_texts_are_measured_as_they_are_trained_on():
    """Of an encoder [SEP] stays behind what is left."""
    encoder, tokenizer = mp.load("encoder"), mp.load_tokenizer("encoder")
    texts = ["The soup was cold. " * 60, "The soup was cold."]
    task = Classify("long", {"train": list(zip(texts, "ab"))}, encoder, tokenizer)
    rows, cut = encoded(texts, tokenizer, encoder)
    assert rows == [ids for ids, _, _ in task.examples["train"]] and cut == task.shortened == 1
    assert rows[0][-1] == rows[1][-1] == tokenizer.token_to_id("[SEP]")


@pytest.mark.parametrize(
    "kind, splits, message",
    [
        (Classify, {"train": [("a", "x"), ("b", "x")]}, "every example is 'x'; two are needed"),
        (
            Classify,
            {"train": [("a", "x"), ("b", "y")], "test": [("c", "z")]},
            "no example of 'z' is left to train on",
        ),
    ],
)
def test_labels_that_can_not_be_learned_are_refused(kind, splits, message, base, tokenizer):
    with pytest.raises(DataError, match=message):
        kind("own", splits, base, tokenizer)


def test_a_base_too_short_is_refused(tokenizer):
    base = mp.Decoder(mp.Config(320, 8, layers=1, heads=1, length=32), np.random.default_rng(0))
    with pytest.raises(DataError, match="32 positions has none left"):
        made(Classify, base, tokenizer)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_of_the_world_is_ready_for_the_base(name):
    base, tokenizer = mp.load(), mp.load_tokenizer()
    task = built_in(name, base, tokenizer)
    assert task.tests == ["test", "ood"] and not task.shortened
    for examples in task.examples.values():
        assert len(examples) >= 100 and max(len(ids) for ids, *_ in examples) < 120
    metric = next(iter(task.metrics))
    for test in task.tests:
        assert 0 <= task.majority(test)[metric] < 0.6 < task.ceiling[test] <= 1


def test_own_examples_are_parted_once():
    examples = [(str(i), i % 2) for i in range(50)]
    found = split(examples, np.random.default_rng(0))
    assert [len(found[s]) for s in ("train", "dev", "test")] == [35, 5, 10]
    assert sorted(sum(found.values(), []), key=lambda e: int(e[0])) == examples
    with pytest.raises(DataError, match="19 examples are too few"):
        split(examples[:19], np.random.default_rng(0))
