"""A language model classifies through a template: alone = in a batch, for every method."""

import numpy as np
import pytest

import minipeft as mp
from minipeft.adaptation.method import PLAIN
from minipeft.equations.prompting import number_tokenizer
from minipeft.methods.segments import SLOT
from minipeft.prompting import slots
from minipeft.prompting.classifier import PromptClassifier
from minipeft.prompting.verbalizer import Verbalizer
from minipeft.training.trainer import Trainer
from tests.support.families import BERT, DECODERS, METHODS, T5, V, attached

TOKENIZER = number_tokenizer(V)
WORDS = {"a": ("3", "4 5"), "b": "6 7 8"}
TEXTS = ["1 2 9", "10", "5 4 3 2 1 0", "7 7"]
NOISE = np.random.default_rng(0)
wide = lambda t: mp.Tensor(4 * t.data + NOISE.normal(0, 0.3, t.shape))  # biases, too
MODELS = {
    "decoder": DECODERS["gpt2"],
    "encoder": mp.MaskedLM(BERT, np.random.default_rng(0)).map(wide),
    "seq2seq": mp.EncoderDecoder(T5, np.random.default_rng(0)).map(wide),
}


def prompted(model, template="1 {x} 2 [MASK] 4", words=WORDS, **options):
    return PromptClassifier(model, template, Verbalizer(words, **options), TOKENIZER)


@pytest.mark.parametrize("tokens", ["product", "first"])
@pytest.mark.parametrize("name", METHODS)
def test_a_text_in_a_batch_is_as_if_alone(name, tokens):
    """Whatever is attached, padding and shared beginnings change no probability."""
    model = MODELS["decoder"]
    γ, classifier = attached(name, model), prompted(model, tokens=tokens)
    if not γ.shared:
        pytest.skip("a bank has an adaptation for each row")
    shown = classifier.with_examples([("1 1 1 2", "a"), ("2 9 9", "b")], separator=" 0 ")
    for one in (classifier, shown):
        together = one.log_probabilities(TEXTS, γ)
        alone = np.concatenate([one.log_probabilities([text], γ) for text in TEXTS])
        assert np.abs(together - alone).max() <= 1e-12
        assert np.abs(np.exp(together).sum(1) - 1).max() <= 1e-12


def test_each_text_is_read_with_its_user_of_a_bank():
    model = MODELS["decoder"]
    users = [
        attached("lora", model).map(lambda p, c=c: mp.Tensor(c * p.data)) for c in range(1, 10)
    ]
    bank, texts = mp.stack(users), [f"{'1 ' * (i % 4)}{i}" for i in range(9)]
    classifier = prompted(model)
    alone = [classifier.log_probabilities([text], γ)[0] for text, γ in zip(texts, users)]
    assert np.abs(classifier.log_probabilities(texts, bank) - alone).max() <= 1e-12
    mixed = mp.Each(users)
    assert np.abs(classifier.log_probabilities(texts, mixed) - alone).max() <= 1e-12
    with pytest.raises(ValueError, match="a bank of 9 users and the batch size is 2"):
        classifier.log_probabilities(texts[:2], bank)


@pytest.mark.parametrize("name", MODELS)
def test_families(name):
    """Padding changes nothing; the words of one token are read at once, with the same result."""
    model, template = MODELS[name], "1 {x} 2 [MASK]"
    classifier = prompted(model, template, {"a": "3", "b": ("6", "8")})
    together = classifier.log_probabilities(TEXTS)
    alone = np.concatenate([classifier.log_probabilities([text]) for text in TEXTS])
    assert np.abs(together - alone).max() <= 1e-12
    rows = [classifier.encode(text) for text in TEXTS]
    at_once = classifier.slot.log_p(rows, classifier.words, PLAIN).data
    assert (
        np.abs(at_once - classifier.slot.spell(rows, classifier.words, PLAIN).data).max() <= 1e-12
    )
    longer = prompted(model, template).log_probabilities(TEXTS)
    assert longer.shape == (4, 2) and np.abs(longer - together).max() > 1e-3


def test_no_texts_have_no_predictions():
    classifier = prompted(MODELS["decoder"])
    assert classifier.predict([]) == [] and classifier.log_probabilities([]).shape == (0, 2)


def test_words_in_chinese():
    """A byte-level tokenizer has several tokens for a character, and there are no spaces."""
    model = mp.load()
    classifier = PromptClassifier(model, "{x}情感:[MASK]", {"坏": ("差", "难看"), "好": "好看"})
    encode = lambda text: model.tokenizer.encode(text).ids
    front, words = encode("很好看。情感:"), [encode(word) for word in ("差", "难看", "好看")]
    assert classifier.words == words and all(len(word) > 1 for word in words)
    log_p = []
    for word in words:
        z = model(np.array([front + word])).data[0, len(front) - 1 : -1].astype(float)
        z -= np.log(np.exp(z).sum(-1, keepdims=True))
        log_p.append(z[range(len(word)), word].sum())
    p = np.exp(np.array(log_p) - max(log_p))
    literal = np.log([p[0] + p[1], p[2]]) - np.log(p.sum())
    assert np.abs(classifier.log_probabilities(["很好看。"])[0] - literal).max() < 1e-4


def test_a_shared_beginning_is_read_once(monkeypatch):
    model = MODELS["decoder"]
    shown = prompted(model).with_examples([("1 2", "a"), ("3 4", "b"), ("5", "a")], "0 0 0 0", " ")
    once = shown.log_probabilities(TEXTS)
    lengths = []
    read = slots.DecoderSlot.read
    monkeypatch.setattr(slots.DecoderSlot, "read", lambda *a: lengths.append(len(a[1])) or read(*a))
    shown.log_probabilities(TEXTS, size=2)
    assert min(lengths) >= slots.SHARED
    lengths.clear()
    prompted(model).log_probabilities(TEXTS, size=2)
    assert {*lengths} == {0}  # a beginning of one token
    monkeypatch.setattr(slots, "SHARED", 10**6)
    assert np.abs(shown.log_probabilities(TEXTS) - once).max() <= 1e-12


def test_a_trainer_trains_an_adaptation_through_a_template():
    model, rng = MODELS["decoder"], np.random.default_rng(0)
    classifier = prompted(model)
    γ = mp.LoRA(2).attach(model, rng)
    before, labels = model.weights_checksum(), ["b", "a", "a", "b"]
    batch = classifier.collate(TEXTS, labels)
    assert np.array_equal(batch[1], [1, 0, 0, 1]) and ((batch[0] == SLOT).sum(1) == 1).all()
    first = float(classifier.loss(*batch[:2], γ, mask=batch[2]))
    log_p = classifier.log_probabilities(TEXTS, γ)
    assert abs(first + log_p[range(4), batch[1]].mean()) <= 1e-12
    trainer = Trainer(classifier, γ, mp.AdamW(γ.parameters(), lr=3e-2))
    for _ in range(30):
        trainer.step(*batch[:2], mask=batch[2])
    assert classifier.predict(TEXTS, γ) == labels
    assert model.weights_checksum() == before


def test_a_sentinel_is_in_a_slot_inside_a_template():
    tokenizer = number_tokenizer(V)
    tokenizer.add_special_tokens(["<extra_id_0>"])  # V is beyond the model's vocabulary
    with pytest.raises(ValueError, match="needs for a slot inside a template"):
        prompted(MODELS["seq2seq"], "1 {x} [MASK] 2", {"a": "3", "b": "4"})
    model = mp.load("seq2seq")
    classifier = PromptClassifier(model, "{x} I was [MASK] to go.", {"a": "glad", "b": "sorry"})
    sentinel = model.tokenizer.token_to_id("<extra_id_0>")
    assert classifier.slot.begin == [sentinel]
    row = classifier.encode("It was warm.")
    ids = np.array([[sentinel if i == SLOT else i for i in row]])
    start = model.config.decoder_start
    z = model(ids, decoder_ids=[[start, sentinel]]).data[0, -1]
    words = [
        model.tokenizer.encode(w, add_special_tokens=False).ids[0] for w in (" glad", " sorry")
    ]
    literal = z[words] - np.logaddexp(*z[words])
    assert np.abs(classifier.log_probabilities(["It was warm."])[0] - literal).max() < 1e-5


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda m: prompted(m, "{x} 1"), "has no slot for the answer: write .MASK."),
        (lambda m: PromptClassifier(m, "{x} [MASK]", WORDS), "the model has no tokenizer"),
        (lambda m: prompted(m, words={"a": "3"}), "a word for each of several classes"),
        (lambda m: prompted(m, words={"a": "3", "b": " "}), "a word for each of several classes"),
        (lambda m: prompted(m, words={"a": "3", "b": "3"}), "'3' is given twice"),
        (lambda m: prompted(m, words={"a": "x", "b": "y"}), "'x' and 'y' have the same tokens"),
        (
            lambda m: prompted(m, words={"a": "3 4", "b": "3 5"}, tokens="first"),
            "the same first token, and no score tells them apart: use tokens='product'",
        ),
        (lambda m: prompted(m, tokens="last"), "tokens='last' must be one of first, mean, product"),
        (lambda m: prompted(m, combine="max"), "combine='max' must be one of sum, mean"),
        (lambda m: prompted(m).with_examples([("1", "c")]), "has the class 'c'; the classes are"),
        (lambda m: prompted(m)(np.array([[1, 2]])), "each row of ids must have one slot"),
        (lambda m: prompted(m).loss([[1, SLOT]], [2]), "labels must be .* from 0 to 1"),
        (lambda m: prompted(m).log_probabilities([("1", "2")]), "takes x; got text_a, text_b"),
        (lambda m: prompted(m).log_probabilities("1 2"), "for a single text write .text."),
        (lambda m: prompted(m).log_probabilities([3]), "a text must be a string, a pair or"),
        (lambda m: prompted(m).log_probabilities([("1", "2", "3")]), "a text must be a string, a"),
        (lambda m: prompted(m).collate(["1"], [0]), "the label 0 is none of the classes 'a', 'b'"),
        (lambda m: prompted(m).collate(["1", "2"], ["a"]), "2 texts have 1 labels: give one for"),
        (lambda m: prompted(m, words=["3", "4"]), "must be {class: word}, such as"),
        (lambda m: prompted(m, words={"a": " 3", "b": "4"}), "write '3'; the template has the sp"),
        (
            lambda m: prompted(m, "{x} [P] [MASK]").predict(["1"]),
            "give the adaptation that has the",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_error(make, message):
    with pytest.raises(ValueError, match=message):
        make(DECODERS["gpt2"])


def test_a_network_without_words_is_refused():
    classifier = mp.Classifier(DECODERS["gpt2"], 2)
    with pytest.raises(TypeError, match="needs a language model: .*; got Classifier"):
        prompted(classifier)


# -- examples in context


def test_examples_are_text_in_the_template():
    shown = prompted(MODELS["decoder"], "{x} is [MASK]").with_examples(
        [("1 2", "a"), ("9", "b")], "Say which.", "\n"
    )
    assert shown.render("10") == "Say which.\n1 2 is 3\n9 is 6 7 8\n10 is [MASK]"
    none = prompted(MODELS["decoder"], "{x} is [MASK]").with_examples([])
    assert none.render("10") == "10 is [MASK]"


def test_the_order_of_examples_counts_and_parameters_do_not_change():
    model = MODELS["decoder"]
    before = {path: t.data.copy() for path, t in model.named_parameters()}
    examples = [("1 2", "a"), ("9", "b")]
    one, other = (
        prompted(model).with_examples(order, separator=" ").log_probabilities(TEXTS)
        for order in (examples, examples[::-1])
    )
    assert np.abs(one - other).max() > 1e-4
    assert all((before[path] == t.data).all() for path, t in model.named_parameters())


def test_the_oldest_examples_are_left_out_whole():
    model = MODELS["decoder"]
    classifier = prompted(model, "{x} 2 [MASK]")
    examples = [(f"{i} {i}", "a") for i in (9, 10, 11)]
    shown = classifier.with_examples(examples, separator=" 0 ")
    whole = shown.encode("1 1 1")
    for room in range(3, len(whole) + 1):
        ids = shown.encode("1 1 1", room)
        kept = (room - 5) // 5 if room >= 5 else 0  # each takes 5 ids, as the text does
        assert len(ids) <= room
        if room >= 5:
            assert ids == whole[len(whole) - 5 * (kept + 1) :]
        assert shown.shots("1 1 1", room) == kept
    assert shown.encode("1 1 1", 4) == classifier.encode("1 1")
    assert shown.render("1 1 1", 10) == "11 11 2 3 0 1 1 1 2 [MASK]"
    assert shown.room() == model.config.length - 2  # the longest word has three tokens
