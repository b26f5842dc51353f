"""Tasks: how examples are encoded, what is trained, and how predictions are scored."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.data.files import DataError
from minipeft.methods.template import IGNORED
from minipeft.tasks.builtin import TASKS, built_in
from minipeft.tasks.classify import Classify
from minipeft.tasks.tag import Tag
from minipeft.tasks.write import Imitate, Write
from minipeft.world.vocabulary import END, train_tokenizer
from tests.support.families import METHODS

WORDS = "the soup was hot cold fresh stale and bread tea at noon".split()
CLASSES = {"hot": "good", "fresh": "good", "cold": "bad", "stale": "bad"}


def sentence(i):
    """A text, and the one word of it that has a class; the texts are all different."""
    rng = np.random.default_rng(i)
    word = list(CLASSES)[i % 4]
    return f"{' '.join(rng.choice(WORDS[-5:], 2 + i % 3))} {i} was {word}", word


def tags(text):
    """(start, end, tag) of every word; the tag is the word's class, or X."""
    ends = np.cumsum([len(w) + 1 for w in text.split()]) - 1
    return [
        (int(end) - len(w), int(end), f"B-{CLASSES[w]}" if w in CLASSES else "X")
        for w, end in zip(text.split(), ends)
    ]


def classify_example(i):
    text, word = sentence(i)
    return text, CLASSES[word]


def tag_example(i):
    text, _ = sentence(i)
    return text, tags(text)


def write_example(i):
    text, word = sentence(i)
    return text, [f" and so it was {CLASSES[word]}.", f" so it was all {CLASSES[word]}."]


def imitate_example(i):
    text, _ = sentence(i)
    return text, [" by the even." if i % Imitate.users % 2 else " by the odd."]


KINDS = {
    Classify: classify_example,
    Tag: tag_example,
    Write: write_example,
    Imitate: imitate_example,
}
kinds = pytest.mark.parametrize("kind", KINDS)


def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def tokenizer():
    texts = [sentence(i)[0] for i in range(100)] + [" and good bad so by the even odd."] * 9
    return train_tokenizer(texts, 320)


@pytest.fixture(scope="module")
def base():
    return mp.Decoder(mp.Config(vocabulary=320, width=16, layers=2, heads=2, length=72), rng())


def make_task(kind, base, tokenizer):
    splits = {"train": range(200), "dev": range(200, 300), "test": range(300, 400)}
    examples = {split: [KINDS[kind](i) for i in numbers] for split, numbers in splits.items()}
    return kind("made", examples, base, tokenizer)


def fine_tune(task, lr, steps):
    adaptation = task.attach(mp.FullFineTuning(), rng())
    model, batches = task.model_and_batches(adaptation, 32, rng())
    trainer = mp.Trainer(model, adaptation, mp.AdamW(adaptation.parameters(), lr))
    trainer.fit(batches, steps, progress=False)
    return adaptation


# -- training and scores


@pytest.mark.parametrize("kind, steps", [(Classify, 60), (Tag, 60), (Write, 300), (Imitate, 100)])
def test_training_beats_the_majority(kind, steps, base, tokenizer):
    task = make_task(kind, base, tokenizer)
    adaptation = fine_tune(task, 1e-2, steps)
    metric = next(iter(task.metrics))
    assert task.evaluate(adaptation, "test")[metric] > task.majority("test")[metric] + 0.1


@kinds
def test_a_prediction_does_not_depend_on_its_batch(kind, base, tokenizer):
    task = make_task(kind, base, tokenizer)
    adaptation = fine_tune(task, 1e-2, 5)
    assert task.predict(adaptation, "test", size=7) == task.predict(adaptation, "test", size=64)


@kinds
def test_right_predictions_score_1(kind, base, tokenizer):
    task = make_task(kind, base, tokenizer)
    labels = task.labels("test")
    right = [references[-1] for references in labels] if kind in (Write, Imitate) else labels
    assert set(task.compute_metrics(right, "test").values()) == {1.0}


# -- batches


def test_a_tag_is_predicted_at_the_last_token_of_its_word(base, tokenizer):
    task = make_task(Tag, base, tokenizer)
    for (_, words), (ids, labels, _) in zip(task.splits["test"], task.examples["test"]):
        labelled = [i for i, label in enumerate(labels) if label != IGNORED]
        assert [task.classes[labels[i]] for i in labelled] == [tag for _, _, tag in words]
        ends = [len(tokenizer.decode(ids[: i + 1])) for i in labelled]
        assert ends == [end for _, end, _ in words]


def test_labels_are_the_continuation_and_then_the_end(base, tokenizer):
    task = make_task(Write, base, tokenizer)
    ids, labels, mask, _ = task.collate(task.examples["train"][:6])
    for row, label, real, (text, [continuation]) in zip(ids, labels, mask, task.splits["train"]):
        end = tokenizer.token_to_id(END)
        assert tokenizer.decode(row[real & (row != end)].tolist()) == text + continuation
        label = label[label != IGNORED]
        assert tokenizer.decode(label[:-1].tolist()) == continuation and label[-1] == end
    assert len(task.splits["train"]) == 2 * 200  # one for each reference


def test_every_user_has_a_row_and_an_adaptation(base, tokenizer):
    task = make_task(Imitate, base, tokenizer)
    adaptation = task.attach(mp.LoRA(rank=1), rng())
    assert {p.shape[0] for p in adaptation.parameters()} == {task.users}
    _, batches = task.model_and_batches(adaptation, 7, rng())
    _, labels, _, _ = next(batches)
    for user, label in enumerate(labels):
        continuation = tokenizer.decode(label[label != IGNORED][:-1].tolist())
        assert continuation == (" by the even." if user % 2 else " by the odd.")
    before = task.predict(adaptation, "test")
    for p in adaptation.parameters():
        p.data[3] = np.random.default_rng(1).normal(size=p.shape[1:])
    changed = [a != b for a, b in zip(before, task.predict(adaptation, "test"))]
    assert {i % task.users for i, different in enumerate(changed) if different} == {3}


# -- texts


def test_a_pair_is_one_text_for_a_decoder(base, tokenizer):
    pairs = [(("the soup was", "hot"), "yes"), (("the tea was", "cold"), "no")]
    task = Classify("pairs", {"train": pairs}, base, tokenizer)
    assert task.examples["train"][0][0] == tokenizer.encode("the soup was hot").ids


def test_long_texts_are_truncated_by_what_the_method_adds(base, tokenizer):
    long = [("hot " * 60, "good"), ("cold", "bad"), ("hot " * 80, "good")]
    task = Classify("long", {"train": long}, base, tokenizer)
    full = [len(tokenizer.encode(text).ids) for text, _ in long]
    for method, extra in [(mp.LoRA(), 0), (mp.PromptTuning(9), 9), (mp.PrefixTuning(50), 50)]:
        adaptation = task.attach(method, rng())
        lengths = [len(ids) for ids, *_ in task.examples_for(adaptation)["train"]]
        assert lengths == [min(n, 72 - extra) for n in full]
        assert task.truncated(adaptation) == sum(n > 72 - extra for n in full)
        task.network(
            *map(
                np.array, [[task.layout(adaptation)(task.examples_for(adaptation)["train"][0][0])]]
            ),
            adaptation,
        )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", [mp.Decoder, mp.MaskedLM])
def test_the_longest_text_is_as_long_as_what_a_method_adds_allows(family, name, tokenizer):
    config = mp.BertConfig if family is mp.MaskedLM else mp.Config
    base = family(config(320, 8, layers=2, heads=2, length=40), rng())
    texts = [("hot " * 99, "a"), ("cold", "b")]
    task = Classify("long", {"train": texts}, base, tokenizer)
    adaptation = task.attach(METHODS[name](), rng()) if name != "plain" else mp.PLAIN
    row, *_ = task.examples_for(adaptation)["train"][0]
    ids = task.layout(adaptation)(row)
    task.network(np.array([ids]), adaptation)
    with pytest.raises(ValueError, match="41"):
        task.network(np.array([[*ids, 0]]), adaptation)


# -- errors


@pytest.mark.parametrize(
    "splits, message",
    [
        ({"train": [("a", "x"), ("b", "x")]}, "every example has the label 'x'"),
        (
            {"train": [("a", "x"), ("b", "y")], "test": [("c", "z")]},
            "the label 'z' has no training example",
        ),
    ],
)
def test_labels_that_can_not_be_learned_are_refused(splits, message, base, tokenizer):
    with pytest.raises(DataError, match=message):
        Classify("mine", splits, base, tokenizer)


def test_a_method_that_leaves_no_position_for_a_text_is_refused(base, tokenizer):
    task = make_task(Classify, base, tokenizer)
    task.examples_for(task.attach(mp.PromptTuning(71), rng()))
    with pytest.raises(ValueError, match=r"72 positions are needed beside the text .* has 72"):
        task.examples_for(task.attach(mp.PromptTuning(72), rng()))


def test_an_encoder_is_refused_where_text_is_generated(tokenizer):
    base = mp.Encoder(mp.BertConfig(320, 8, layers=1, heads=1, length=72), rng())
    with pytest.raises(DataError, match="must be a decoder"):
        make_task(Write, base, tokenizer)


# -- the built-in tasks


@pytest.mark.parametrize("name", TASKS)
def test_a_built_in_task_fits_the_base(name):
    task = built_in(name, mp.load(), mp.load_tokenizer())
    assert task.tests == ["test", "ood"] and not task.truncated()
    for examples in task.examples.values():
        assert len(examples) >= 100 and max(len(ids) for ids, *_ in examples) < 120
    metric = next(iter(task.metrics))
    for test in task.tests:
        assert 0 <= task.majority(test)[metric] < 0.6 < task.ceiling[test] <= 1
