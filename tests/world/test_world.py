"""The laws of the small world: its text, its task and its tokens."""

import json
import re
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from minipeft.world import entropy, tags, topic
from minipeft.world.corpus import documents
from minipeft.world.domains import DOMAINS, names
from minipeft.world.entropy import surprise
from minipeft.world.language import document
from minipeft.world.sentiment import DOMAINS_IN, DOMAINS_OUT, splits
from minipeft.world.vocabulary import train_tokenizer

LABEL_WORDS = set("positive negative sentiment label rating rated review star stars score".split())


def sample(count, seed=0):
    return list(islice(documents(np.random.default_rng(seed)), count))


def words(texts):
    return re.findall("[a-z]+", " ".join(texts).lower())


@pytest.fixture(scope="module")
def texts():
    return sample(10_000)


@pytest.fixture(scope="module")
def task():
    return splits()


@pytest.fixture(scope="module")
def everything(texts, task):
    return texts + [text for split in task.values() for text, _ in split]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_tokenizer(texts[:3000], 1024)


# The text


def test_documents_are_a_function_of_the_generator():
    assert sample(50, seed=1) == sample(50, seed=1) != sample(50, seed=2)


def test_documents_are_short(texts):
    lengths = [len(text.split()) for text in texts]
    sentences = [len(re.findall(r"[.!?]", text)) for text in texts]
    assert 10 <= min(lengths) and max(lengths) <= 70
    assert 1 <= min(sentences) and max(sentences) <= 5


def test_sentences_seldom_repeat(texts):
    sentences = re.split(r"(?<=[.!?]) ", " ".join(texts))
    assert len(set(sentences)) > 0.6 * len(sentences)


def test_nothing_is_left_to_fill_in(everything):
    for text in everything:
        assert re.fullmatch(r"[A-Za-z ,.:!|=\"]+", text) and "  " not in text, text
        assert "=" in text or not re.search(r'(^|[.!] )"?[a-z]', text), text


def test_a_and_an_agree_with_what_follows(everything):
    for article, word in re.findall(r"\b(an?) (\w+)", " ".join(everything), re.IGNORECASE):
        vowel = word[0].lower() in "aeiou" or word == "honest"
        assert (article.lower() == "an") == vowel, (article, word)


def test_verbs_agree_with_nouns():
    for domain in DOMAINS.values():
        for aspect in domain["aspects"]:
            plural = aspect.was("new").split()[-2] == "were"
            assert plural == aspect.noun.endswith("s") and not (plural and aspect.counted)


def test_no_word_gives_the_label_away(task):
    told = [document(rng) for rng in [np.random.default_rng(0)] for _ in range(5000)]
    assert not LABEL_WORDS & set(words(told + [t for split in task.values() for t, _ in split]))


def test_an_adjective_is_good_or_bad_of_a_noun_but_may_change_with_it():
    good, bad = set(), set()
    for domain in DOMAINS.values():
        for aspect in domain["aspects"]:
            bad |= {(word, aspect.noun) for word in aspect.adjectives[0]}
            good |= {(word, aspect.noun) for word in aspect.adjectives[1]}
    assert not good & bad
    assert len({word for word, _ in good} & {word for word, _ in bad}) > 15


# The task


def test_splits_are_a_function_of_the_seed(task):
    assert splits() == task
    assert splits(seed=1)["test"] != task["test"]


def test_less_training_is_the_beginning_of_more(task):
    assert splits(train=100) == task | {"train": task["train"][:100]}


def test_splits_are_balanced_distinct_and_of_the_size_asked_for(task):
    sizes = {split: len(pairs) for split, pairs in task.items()}
    assert sizes == {"train": 2000, "dev": 500, "test": 1000, "ood": 1000}
    assert all(sum(label for _, label in pairs) == len(pairs) / 2 for pairs in task.values())
    reviews = [text for pairs in task.values() for text, _ in pairs]
    assert len(set(reviews)) == len(reviews)
    assert all(8 <= len(text.split()) <= 40 for text in reviews)


def test_reviews_are_in_words_of_the_documents(texts, task):
    known = set(words(texts))
    assert all(set(words([text])) <= known for pairs in task.values() for text, _ in pairs)


def test_held_out_domains_are_not_trained_on(task):
    def nouns(names):
        aspects = [aspect.noun for name in names for aspect in DOMAINS[name]["aspects"]]
        return set(words(aspects + [thing for name in names for thing in DOMAINS[name]["thing"]]))

    trained, held_out = ({*words(text for text, _ in task[s])} for s in ("train", "ood"))
    assert nouns(DOMAINS_IN) <= trained and nouns(DOMAINS_OUT) <= held_out
    assert not nouns(DOMAINS_OUT) & trained and not nouns(DOMAINS_IN) & held_out


def test_counting_words_is_not_enough(task):
    """Regression on which words occur: above chance, far from solved, and worse elsewhere."""
    vocabulary = sorted(set(words(text for text, _ in task["train"])))

    def counts(split):
        found = [set(words([text])) for text, _ in task[split]]
        present = [[word in here for word in vocabulary] for here in found]
        return np.array(present, float), np.array([2 * label - 1 for _, label in task[split]])

    x, y = counts("train")
    w = np.linalg.solve(x.T @ x + 30 * np.eye(len(vocabulary)), x.T @ y)
    test, ood = (np.mean((x @ w > 0) == (y > 0)) for x, y in map(counts, ("test", "ood")))
    assert 0.75 < test < 0.9 and 0.6 < ood < test - 0.05


# The tokens


@given(st.text())
def test_any_text_comes_back_from_its_tokens(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_end_of_text_is_token_zero_and_nothing_is_added(tokenizer):
    assert tokenizer.encode("<|endoftext|>").ids == [0]
    assert 0 not in tokenizer.encode("A thin plot.").ids and tokenizer.encode("").ids == []
    assert tokenizer.get_vocab_size() == 1024


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert json.loads(again.to_str()) == json.loads(tokenizer.to_str())


def test_gpt2_of_transformers_reads_the_tokenizer(tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    theirs = transformers.GPT2TokenizerFast.from_pretrained(tmp_path)
    text = "The plot's thin , but it  moved me.<|endoftext|>\nÉté 日本"
    assert theirs(text)["input_ids"] == tokenizer.encode(text).ids
    assert theirs.decode(theirs(text)["input_ids"], clean_up_tokenization_spaces=False) == text


# How rich it is, and what it holds back


def test_there_are_hundreds_of_thousands_of_sentences():
    """Twice as many documents have nearly twice as many sentences that differ."""
    sentences = re.split(r"(?<=[.!?]) ", " ".join(sample(60_000)))
    half, whole = len(set(sentences[: len(sentences) // 2])), len(set(sentences))
    assert whole > 100_000 and whole > 1.6 * half


def test_names_that_are_held_back_are_in_no_document_but_in_tasks(texts):
    texts, tagged = " ".join(texts), tags.splits()
    trained, ood = (" ".join(text for text, _ in tagged[s]) for s in ("train", "ood"))
    for domain in DOMAINS.values():
        own, held = names(domain, held=False), names(domain, held=True)
        assert not set(own) & set(held) and len(held) >= 5
        for name in held:
            for said in (name, name[0].upper() + name[1:]):  # "The Copper Spoon" may come first
                assert said not in texts and said not in trained
        assert all(name in texts for name in own)
    held = [name for domain in DOMAINS.values() for name in names(domain, held=True)]
    assert sum(name in ood for name in held) > len(held) / 2
    called = set(tags.things(held=True)) - set(held)  # after a person or a place
    assert not any(name[4:] in texts or name[4:] in trained for name in called)
    assert sum(name in ood for name in called) > len(called) / 2


def test_the_grammar_knows_how_surprising_it_is():
    told = [surprise(np.random.default_rng(i)) for i in range(200)]
    assert [text for text, _ in told] == [document(np.random.default_rng(i)) for i in range(200)]
    assert min(nats for _, nats in told) > np.log(len(DOMAINS) * 2)
    assert 20 < np.mean([nats for _, nats in told]) < 32


# Topics and tags


def test_each_text_is_of_one_topic_and_speaks_of_two():
    every = topic.splits()
    assert {label for _, label in every["train"]} == set(DOMAINS)
    texts = [text for pairs in every.values() for text, _ in pairs]
    assert len(texts) == len(set(texts)) == 4500
    for text, label in every["test"] + every["ood"]:
        nouns = {
            d: [a.noun for a in DOMAINS[d]["aspects"] if f"he {a.noun} w" in text] for d in DOMAINS
        }
        assert nouns[label] and sum(map(bool, nouns.values())) >= 2, text


def test_which_topic_is_not_in_the_words_alone():
    every = topic.splits()
    for split in ("test", "ood"):
        right = 0
        for text, label in every[split]:
            found = {
                d: sum(text.count(f"he {a.noun} w") for a in DOMAINS[d]["aspects"]) for d in DOMAINS
            }
            best = [d for d in DOMAINS if found[d] == max(found.values())]
            right += (label in best) / len(best)
        assert right / len(every[split]) < 0.65


def test_every_word_has_one_tag():
    for pairs in tags.splits().values():
        for text, spans in pairs:
            covered = "".join(text[start:end] for start, end, _ in spans)
            assert covered == text.replace(" ", "") and all(text[s:e].strip() for s, e, _ in spans)
            for (_, _, before), (_, _, tag) in zip([(0, 0, "")] + spans, spans):
                assert not tag.startswith("I-") or before[2:] == tag[2:], text


def test_no_word_is_said_twice_running():
    told = [text for split in tags.splits().values() for text, _ in split]
    for text in [*sample(3000, seed=3), *told]:
        assert not re.search(r"\b(\w+) \1\b", text, re.IGNORECASE), text


def test_a_list_of_words_does_not_know_the_tags():
    every, seen = tags.splits(), {}
    for text, spans in every["train"]:
        for start, end, tag in spans:
            seen.setdefault(text[start:end].lower(), []).append(tag)
    for split, most in (("test", 0.9), ("ood", 0.85)):
        words = [(text[s:e].lower(), tag) for text, spans in every[split] for s, e, tag in spans]
        common = {word: max(set(found), key=found.count) for word, found in seen.items()}
        assert 0.6 < np.mean([common.get(word) == tag for word, tag in words]) < most
    assert sum(len(set(found)) > 1 for found in seen.values()) > 30


def test_the_base_predicts_better_than_counts_and_no_better_than_the_grammar(capsys, monkeypatch):
    monkeypatch.setattr(entropy, "DOCUMENTS", 3000)
    monkeypatch.setattr(entropy, "HELD", 100)
    entropy.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    unigrams, bigrams, base = (list(map(float, row[-2:])) for row in rows[:3])
    assert unigrams > bigrams > base and unigrams[1] > bigrams[1] > base[1]
    assert float(rows[3][2]) < base[1]
