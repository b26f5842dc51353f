"""The task `summary`: reports in one sentence."""

import re

import pytest

from minipeft.data.text_metrics import rouge_l
from minipeft.world import summary
from minipeft.world.language import MEN, WOMEN, common_rules

PEOPLE, PLACES = {*WOMEN, *MEN}, {*common_rules()["place"]}


@pytest.fixture(scope="module")
def splits():
    return summary.splits() | {"within": summary.splits(within=True, train=0)["ood"]}


def sentences(text):
    return re.split(r"(?<=\.) ", text)


def words(text):
    return set(re.findall("[A-Za-z]+", text))


def test_four_to_six_sentences_become_one(splits):
    for examples in splits.values():
        for text, references in examples:
            *report, cue = sentences(text)
            assert 4 <= len(report) <= 6 and cue == "In short:"
            assert len({*references}) == 3
            for sentence in (*report, *(reference[1:] for reference in references)):
                assert re.fullmatch(r"[A-Z][A-Za-z ,]+\.", sentence) and "  " not in sentence


def test_the_report_has_all_that_a_summary_says(splits):
    values = {value for slot in summary.slots().values() for value in slot}
    values |= {*common_rules()["n"], *common_rules()["role"]} | PEOPLE | PLACES
    pattern = re.compile(rf"\b({'|'.join(values)})\b", re.IGNORECASE)
    for examples in splits.values():
        for text, references in examples:
            known = {value.lower() for value in pattern.findall(text)}
            for reference in references:
                said = {value.lower() for value in pattern.findall(reference)}
                assert len(said) >= 2 and said <= known, (text, reference)


@pytest.mark.parametrize("split", ["test", "ood", "within"])
def test_no_sentence_of_a_report_is_its_summary(splits, split):
    """The sentence that is nearest to the references is far from them; asides have other names."""
    examples = splits[split]
    references = [texts for _, texts in examples]
    nearest = [
        max(sentences(text)[:-1], key=lambda sentence: rouge_l([sentence], [texts]))
        for text, texts in examples
    ]
    assert rouge_l(nearest, references) < 0.55
    names = [words(text) & PEOPLE > words(texts[0]) & PEOPLE for text, texts in examples]
    assert sum(names) > 0.5 * len(names)


def test_the_winner_of_an_election_may_be_named_second(splits):
    places = [
        text.index(person) > text.index(",")
        for text, (reference, *_) in splits["train"]
        for person in words(reference) & PEOPLE
        if "mayor" in text
    ]
    assert 0.4 < sum(places) / len(places) < 0.6


def test_sports_and_other_news_are_held_out(splits):
    known = words(" ".join(text for name in ("train", "dev", "test") for text, _ in splits[name]))
    assert not known & set("played points runners ahead ill feast clapped".split())
    for split, kinds in (("ood", r"points|runners"), ("within", r"ill|clapped")):
        assert all(re.search(kinds, text) for text, _ in splits[split])
