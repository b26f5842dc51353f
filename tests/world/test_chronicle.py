"""Documents with a date: who is mayor on which day."""

import re

import numpy as np
import pytest

from minipeft.world import chronicle
from minipeft.world.chronicle import DAYS, MAYOR, TERM, mayor, mayors, question, sites
from minipeft.world.language import common_rules

TOWNS = common_rules()["place"]


def sample(days=range(1, DAYS + 1), wordings=MAYOR, n=400, seed=0):
    rng = np.random.default_rng(0)
    return [chronicle.document(rng, days, wordings, seed) for _ in range(n)]


@pytest.mark.parametrize("seed", range(20))
def test_mayors_change_and_none_comes_back(seed):
    assert set(mayors(seed)) == {*TOWNS}
    for town, days in mayors(seed).items():
        changes = [day for day in range(2, DAYS + 1) if days[day - 1] != days[day - 2]]
        terms = np.diff([1, *changes])
        assert len(days) == DAYS and 2 <= len(changes) == len({*days}) - 1
        assert all(TERM[0] <= term <= TERM[1] for term in terms)
        assert [mayor(town, day, seed) for day in (1, DAYS)] == [days[0], days[-1]]


def test_mayors_and_sites_are_functions_of_the_seed():
    assert mayors(1) != mayors(0) and sites(1) != sites(0)
    assert len({*sites().values()}) == len(TOWNS)


def test_a_document_says_what_is_true_on_its_day():
    days, said = set(), 0
    for text in sample():
        date, *sentences = re.split(r"(?<=\.) ", text)
        day = int(re.fullmatch(r"Day (\d+)\.", date)[1])
        days.add(day)
        towns = [town for sentence in sentences for town in TOWNS if town in sentence]
        assert len(sentences) == len({*towns}) == 4
        for town, sentence in zip(towns, sentences):
            beginnings = [question(wording, town, day) for wording in MAYOR]
            text = f"{date} {sentence}"
            if any(text.startswith(beginning) for beginning in beginnings):
                said += text.endswith(f" {mayor(town, day)}.")
            else:
                assert text.endswith(f" {sites()[town]}.")
    assert said == 3 * 400 and days == set(range(1, DAYS + 1))


def test_documents_of_some_days_in_some_wordings():
    texts = sample(range(43, 46), MAYOR[:1], 100, seed=1)
    assert {text[:7] for text in texts} == {"Day 43.", "Day 44.", "Day 45."}
    assert all(len(re.findall("[Tt]he mayor of", text)) == 3 for text in texts)


def test_questions_end_where_the_answer_begins():
    questions = chronicle.questions(range(23, 25), ["Tarnwick", "Ostrel"], MAYOR[:2])
    assert len(questions) == 8 and len({text for text, _ in questions}) == 8
    assert questions[0] == ("Day 23. The mayor of Tarnwick is", f" {mayor('Tarnwick', 23)}")
    assert questions[1][0] == "Day 23. In Tarnwick the mayor is now"
