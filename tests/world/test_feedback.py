"""Human feedback without humans: prompts, demonstrations, facts, and the labeller."""

from dataclasses import replace

import numpy as np
import pytest

import minipeft as mp
from minipeft.world import facts, feedback, table
from minipeft.world.domains import domains
from minipeft.world.feedback import Labeller, Prompt
from minipeft.world.language import common_rules, pick

EXACT = Labeller(noise=0)
INN = Prompt("", {"kind": "inn", "offers": "soft beds", "rating": "fair"}, polite=False)
FILM = Prompt("Mara saw The Paper Parade on Friday.", None, polite=False)


@pytest.fixture(scope="module")
def splits():
    return feedback.splits()


@pytest.fixture(scope="module")
def tokenizer():
    return mp.load_tokenizer()


def described(rng):
    """A record and its description: by the grammar of `table`, or as here."""
    if rng.random() < 0.5:
        record = feedback.draw_record(rng)
        return record, feedback.describe(rng, record)
    record = table.draw_record(rng, table.all_categories())
    return record, table.describe(rng, record)


def test_splits_have_all_kinds_of_prompts_equally_often(splits):
    assert {split: len(prompts) for split, prompts in splits.items()} == {
        "train": 1000,
        "dev": 100,
        "test": 200,
    }
    for prompts in splits.values():
        kinds = [(prompt.record is None, prompt.polite) for prompt in prompts]
        assert {kinds.count(kind) / len(kinds) for kind in set(kinds)} == {1 / 4}


def test_no_two_prompts_differ_in_politeness_or_order_alone(splits):
    prompts = [prompt for prompts in splits.values() for prompt in prompts]
    texts = {p.text.removeprefix(feedback.POLITE) for p in prompts}
    contents = {frozenset(text.removesuffix(" =").split(" | ")) for text in texts}
    assert len(contents) == len(prompts) == 1300


def test_splits_are_a_function_of_the_seed(splits):
    assert feedback.splits() == splits
    assert feedback.splits(seed=1)["test"] != splits["test"]
    assert feedback.splits(train=50)["train"] == splits["train"][:50]


def test_prompts_say_what_they_are(splits):
    for prompt in splits["train"]:
        assert prompt.text.startswith("Be polite. ") == prompt.polite
        text = prompt.text.removeprefix("Be polite. ")
        assert text.endswith(".") if prompt.record is None else text == table.to_text(prompt.record)


def test_the_labeller_likes_demonstrations_without_an_invented_fact(splits, tokenizer):
    rng, invented = np.random.default_rng(0), []
    for prompt in splits["train"]:
        answer = feedback.demonstration(rng, prompt)
        assert answer.startswith(" ") and answer.endswith(".") and answer.count(".") <= 2
        assert len(tokenizer.encode(answer).ids) <= 40
        rude = bool(feedback.rude_words(answer))
        lacks = feedback.fabricated(prompt.record, answer) if prompt.record else []
        assert EXACT.reward(prompt, answer) == (0.5 if rude or lacks else 1) and len(lacks) <= 1
        invented += [len(lacks)] if prompt.record else []
        assert not (rude and (prompt.polite or prompt.record))
    assert 0.45 < np.mean(invented) < 0.55


def test_demonstrations_without_a_request_are_sometimes_rude(splits):
    rng = np.random.default_rng(0)
    answers = [feedback.demonstration(rng, FILM) for _ in range(200)]
    assert 0.3 < np.mean([bool(feedback.rude_words(answer)) for answer in answers]) < 0.7


def test_few_shot_prompts_fit_the_base(splits, tokenizer):
    rng = np.random.default_rng(0)
    for prompt in splits["test"]:
        text = feedback.few_shot(rng, prompt, 3)
        *shots, last = text.split("<|endoftext|>")
        assert last == prompt.text and len(shots) == 3
        assert all(shot.startswith("Be polite. ") == prompt.polite for shot in shots)
        assert all((" = It " in shot) == (prompt.record is not None) for shot in shots)
        ids = tokenizer.encode(text).ids
        assert ids.count(0) == 3 and len(ids) + 64 <= 256
    assert feedback.few_shot(rng, FILM, 0) == FILM.text


def test_descriptions_say_the_facts_of_the_record_and_no_others():
    rng = np.random.default_rng(0)
    for _ in range(3000):
        record, text = described(rng)
        assert sorted(facts.facts_said(text)) == sorted(facts.facts(record)), text


def test_every_swapped_value_is_found():
    rng = np.random.default_rng(0)
    for _ in range(3000):
        record, text = described(rng)
        field = pick(rng, [*record])
        swapped = pick(rng, values(field, record["kind"]))
        fact = facts.facts({field: record[field]})
        found = facts.fabricated(record | {field: swapped}, text)
        assert found == (fact if swapped != record[field] else []), (text, swapped)


def values(field, kind):
    """The values that a field of a record can have."""
    category = table.category_by_kind()[kind]
    if field == "place":
        return table.PLACES
    if field == "name":
        return category.names
    return [v.format(number=n) for v in category.values[field] for n in table.NUMBERS]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("It is an inn in Ostrel.", ["ostrel"]),
        ("The Ferry House is an inn.", ["the ferry house"]),
        ("It offers soft beds and has eleven rooms.", ["eleven rooms"]),
        ("It opens at eight.", ["at eight"]),
        ("It is rated very good.", ["very good"]),
        ("Mara stayed there.", ["mara"]),
        ("It is an inn in White Basket.", ["white basket"]),
        (" It is rated fair. It is an inn. ", []),
        ("", []),
    ],
)
def test_fabricated_facts(answer, found):
    assert facts.fabricated(INN.record, answer) == found


def test_rude_words_are_bad_in_the_world_and_in_no_record():
    rules = common_rules()
    sides = [list(rules["sad"]), list(rules["glad"])]
    pairs = [a.adjectives for domain in domains().values() for a in domain["aspects"]]
    pairs += [rule for d in (rules, *domains().values()) for rule in d.values() if is_pair(rule)]
    for bad, good in pairs:
        sides[0] += bad
        sides[1] += good
    bad, good = (set(" ".join(side).split()) for side in sides)
    assert feedback.RUDE <= bad and not feedback.RUDE & good
    rng = np.random.default_rng(0)
    assert not any(feedback.rude_words(described(rng)[1]) for _ in range(1000))
    assert feedback.rude_words("The plot was not at all dull. Rude, dullness") == ["dull", "rude"]


def is_pair(rule):
    return isinstance(rule, tuple) and isinstance(rule[0], tuple)


def test_the_base_is_rude_and_fabricates(tokenizer):
    model, rng = mp.load(), np.random.default_rng(0)
    kinds = 60 * [True] + 100 * [False]
    prompts = [feedback.draw_prompt(rng, closed, polite=False) for closed in kinds]
    rows = [tokenizer.encode(prompt.text).ids for prompt in prompts]
    ids = np.array([[0] * (20 - len(row)) + row for row in rows])
    mask = np.arange(20) >= 20 - np.array([[len(row)] for row in rows])
    new = mp.generate(model, ids, mask=mask, rng=rng, max_new_tokens=40, temperature=1.0)
    answers = [tokenizer.decode(row) for row in new.tolist()]
    fabricated = [
        bool(facts.fabricated(prompt.record, answer))
        for prompt, answer in zip(prompts[:60], answers[:60], strict=True)
    ]
    assert np.mean(fabricated) > 0.9
    assert 0.25 < np.mean([bool(feedback.rude_words(answer)) for answer in answers[60:]]) < 0.55


LONG = " and it is an inn" * 6


@pytest.mark.parametrize(
    ("prompt", "answer", "reward"),
    [
        (INN, " It is an inn, offers soft beds and is rated fair.", 1),
        (INN, " It is an inn and is rated fair.", 2 / 3),
        (INN, " It is an inn, offers soft beds and is rated good.", 2 / 3 - 0.5),
        (INN, " It is an inn in Ostrel, offers soft beds and is rated good.", 2 / 3 - 1),
        (INN, " The Swan Arms is a lodge in Ostrel and has six rooms.", -1),
        (INN, " It is an inn, offers soft beds and is rated fair", 0.5),
        (INN, f" It offers soft beds and is rated fair{LONG}.", 0.5),
        (INN, "", -0.5),
        (FILM, " The plot was thin. The jokes were fresh.", 1),
        (FILM, " The plot was thin. She liked it.", 0.5),
        (FILM, " The soup was thin. The beds were hard.", 0),
        (FILM, " The plot was dull and the jokes were stale.", 0.5),
        (FILM._replace(polite=True), " The plot was dull and the jokes were stale.", 0),
        (FILM._replace(polite=True), " dull", -1.5),
        (INN._replace(polite=True), " Mara, a nurse, saw a dull film", -2.5),
    ],
)
def test_the_reward_is_the_table_of_the_docstring(prompt, answer, reward):
    assert EXACT.reward(prompt, answer) == pytest.approx(reward, abs=1e-6)


ANSWERS = [
    "",
    " It is an inn, offers soft beds and is rated fair.",
    " It is an inn.",
    " It offers soft beds.",
    " It is a lodge in Ostrel.",
    " It is rated fair and is an inn.",
]


def test_ranks_without_noise_are_the_order_of_rewards():
    rng = np.random.default_rng(0)
    assert EXACT.rank(INN, ANSWERS, rng) == [1, 4, 2, 2, 0, 3]
    assert EXACT.rank(INN, ANSWERS[:1], rng) == [0]
    assert EXACT.rank(INN, [" It was."] * 3, rng) == [0, 0, 0]


def test_neighbours_are_reversed_at_the_stated_rate():
    rng, labeller = np.random.default_rng(0), Labeller(noise=0.2)
    ranks = np.array([labeller.rank(INN, ANSWERS, rng) for _ in range(2000)])
    assert (ranks[:, 2] == ranks[:, 3]).all()  # ties stay ties
    assert (np.sort(ranks[:, [0, 1, 2, 4, 5]]) == np.arange(5)).all()
    by_reward = ranks[:, [4, 0, 2, 5, 1]]
    reversed_ = np.array([[np.mean(a > b) for b in by_reward.T] for a in by_reward.T])
    five_standard_errors = 5 * (0.2 * 0.8 / 2000) ** 0.5
    assert abs(np.diag(reversed_, 1) - 0.2).max() < five_standard_errors
    assert np.diag(reversed_, 2).max() < 0.1 and np.diag(reversed_, 4).max() < 0.02


def test_a_noise_of_one_half_is_a_guess():
    rng, labeller = np.random.default_rng(0), Labeller(noise=0.5)
    ranks = [labeller.rank(INN, ANSWERS, rng) for _ in range(1000)]
    assert abs(np.mean(ranks, axis=0) - 2).max() < 5 * (2 / 1000) ** 0.5


@pytest.mark.parametrize("noise", [-0.1, 0.6, float("nan")])
def test_an_impossible_noise_is_refused(noise):
    with pytest.raises(ValueError, match=f"noise={noise} must be between 0"):
        replace(EXACT, noise=noise)
