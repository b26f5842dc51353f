"""The tasks `tags` and `topic`."""

import numpy as np
import pytest

from minipeft.world import tags, topic
from minipeft.world.domains import DOMAINS, domains

# -- tags


@pytest.fixture(scope="module")
def tagged():
    return tags.splits()


def test_every_word_has_one_tag(tagged):
    for examples in tagged.values():
        for text, words in examples:
            covered = "".join(text[start:end] for start, end, _ in words)
            assert covered == text.replace(" ", "")
            assert all(text[start:end].strip() for start, end, _ in words)
            for (_, _, before), (_, _, tag) in zip([(0, 0, ""), *words], words):
                assert not tag.startswith("I-") or before[2:] == tag[2:], text


def test_the_most_frequent_tag_of_each_word_is_not_enough(tagged):
    seen = {}
    for text, words in tagged["train"]:
        for start, end, tag in words:
            seen.setdefault(text[start:end].lower(), []).append(tag)
    most_frequent = {word: max(set(found), key=found.count) for word, found in seen.items()}
    for split, most in (("test", 0.9), ("ood", 0.85)):
        words = [
            (text[start:end].lower(), tag)
            for text, spans in tagged[split]
            for start, end, tag in spans
        ]
        assert 0.6 < np.mean([most_frequent.get(word) == tag for word, tag in words]) < most
    assert sum(len(set(found)) > 1 for found in seen.values()) > 30


# -- topic


@pytest.fixture(scope="module")
def topics():
    return topic.splits()


def mentions(text):
    """{domain: number of mentions of its aspects}"""
    return {
        name: sum(text.count(f"he {aspect.noun} w") for aspect in domain["aspects"])
        for name, domain in domains().items()
    }


def test_each_text_has_one_topic_and_mentions_two_domains(topics):
    assert {label for _, label in topics["train"]} == set(DOMAINS)
    for text, label in topics["test"] + topics["ood"]:
        counts = mentions(text)
        assert counts[label] and sum(map(bool, counts.values())) >= 2, text


def test_counting_words_does_not_tell_the_topic(topics):
    for split in ("test", "ood"):
        right = 0
        for text, label in topics[split]:
            counts = mentions(text)
            best = [name for name in DOMAINS if counts[name] == max(counts.values())]
            right += (label in best) / len(best)
        assert right / len(topics[split]) < 0.65
