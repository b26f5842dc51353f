"""The pretraining text: its form, its variety, and what is held out of it."""

import re
from itertools import islice

import numpy as np
import pytest

from minipeft.world import sentiment, tags
from minipeft.world.corpus import documents
from minipeft.world.domains import domains, names
from minipeft.world.language import document

LABEL_WORDS = set("positive negative sentiment label rating rated review star stars score".split())


def sample(count, seed=0):
    return list(islice(documents(np.random.default_rng(seed)), count))


def words(texts):
    return re.findall("[a-z]+", " ".join(texts).lower())


@pytest.fixture(scope="module")
def texts():
    return sample(10_000)


@pytest.fixture(scope="module")
def reviews():
    return [text for examples in sentiment.splits().values() for text, _ in examples]


# -- form


def test_documents_are_a_function_of_the_generator():
    assert sample(50, seed=1) == sample(50, seed=1) != sample(50, seed=2)


def test_documents_are_short(texts):
    lengths = [len(text.split()) for text in texts]
    sentences = [len(re.findall(r"[.!?]", text)) for text in texts]
    assert 10 <= min(lengths) and max(lengths) <= 70
    assert 1 <= min(sentences) and max(sentences) <= 5


def test_no_slot_is_left_and_sentences_begin_with_a_capital(texts, reviews):
    for text in texts + reviews:
        assert re.fullmatch(r"[A-Za-z ,.:!|=\"]+", text) and "  " not in text, text
        assert "=" in text or not re.search(r'(^|[.!] )"?[a-z]', text), text


def test_a_and_an_agree_with_the_next_word(texts, reviews):
    for article, word in re.findall(r"\b(an?) (\w+)", " ".join(texts + reviews), re.IGNORECASE):
        vowel = word[0].lower() in "aeiou" or word == "honest"
        assert (article.lower() == "an") == vowel, (article, word)


def test_verbs_agree_with_nouns():
    for domain in domains().values():
        for aspect in domain["aspects"]:
            plural = aspect.was("new").split()[-2] == "were"
            assert plural == aspect.noun.endswith("s") and not (plural and aspect.countable)


def test_no_word_is_repeated(texts):
    tagged = [text for examples in tags.splits().values() for text, _ in examples]
    for text in [*sample(3000, seed=3), *tagged]:
        assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text


# -- variety


def test_sentences_seldom_repeat(texts):
    sentences = re.split(r"(?<=[.!?]) ", " ".join(texts))
    assert len(set(sentences)) > 0.6 * len(sentences)


def test_there_are_hundreds_of_thousands_of_sentences():
    """Twice as many documents have nearly twice as many distinct sentences."""
    sentences = re.split(r"(?<=[.!?]) ", " ".join(sample(30_000)))
    half, all = len(set(sentences[: len(sentences) // 2])), len(set(sentences))
    assert all > 60_000 and all > 1.8 * half


# -- meaning


def test_no_word_names_the_sentiment(reviews):
    rng = np.random.default_rng(0)
    opinions = [document(rng) for _ in range(5000)]
    assert not LABEL_WORDS & set(words(opinions + reviews))


def test_an_adjective_is_good_or_bad_of_a_noun_and_may_change_with_the_noun():
    good, bad = set(), set()
    for domain in domains().values():
        for aspect in domain["aspects"]:
            bad |= {(word, aspect.noun) for word in aspect.adjectives[0]}
            good |= {(word, aspect.noun) for word in aspect.adjectives[1]}
    assert not good & bad
    assert len({word for word, _ in good} & {word for word, _ in bad}) > 15


# -- held-out names


def test_held_out_names_are_in_ood_tags_only(texts):
    texts, examples = " ".join(texts), tags.splits()
    train, ood = (" ".join(text for text, _ in examples[split]) for split in ("train", "ood"))
    for domain in domains().values():
        known, held_out = names(domain, held_out=False), names(domain, held_out=True)
        assert not set(known) & set(held_out) and len(held_out) >= 5
        for name in held_out:
            for spelling in (name, name[0].upper() + name[1:]):  # it may begin a sentence
                assert spelling not in texts and spelling not in train
        assert all(name in texts for name in known)
    held_out = [name for domain in domains().values() for name in names(domain, held_out=True)]
    assert sum(name in ood for name in held_out) > len(held_out) / 2
    compounds = set(tags.things(held_out=True)) - set(held_out)  # after a person or a place
    assert not any(name[4:] in texts or name[4:] in train for name in compounds)
    assert sum(name in ood for name in compounds) > len(compounds) / 2
