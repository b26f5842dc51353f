"""The task `style`: what each of a hundred users would write next."""

import re
from collections import Counter

import numpy as np
import pytest

from minipeft.world import style


@pytest.fixture(scope="module")
def splits():
    return style.splits()


def user_of(i):
    return style.users()[i % style.USERS]


def test_users_differ():
    assert len(style.users()) == style.USERS == 100
    assert len({user[:4] for user in style.users()}) == 100


def test_the_continuation_is_a_function_of_the_user_and_the_beginning(splits):
    for examples in splits.values():
        for i, (text, references) in enumerate(examples):
            assert references == [style.answer(user_of(i), text)]
            assert re.fullmatch(r" [^.]+\.", references[0]) and len(references[0].split()) <= 8
    text = splits["test"][0][0]
    assert len({style.answer(user, text) for user in style.users()}) > 10


def test_praise_and_complaint_follow_taste():
    user = style.users()[0]
    wish = user.likes[1]  # hot or cold
    opposite = style.opposites()[wish]
    praise, complaint = (
        f" {phrase.format(very=user.very, wish=wish)}." for phrase in (user.praise, user.complaint)
    )
    assert praise != complaint
    for quality, answer in ((wish, praise), (opposite, complaint)):
        assert style.answer(user, f"The soup was {quality}, and") == answer
    for denial in style.DENIALS:
        assert style.answer(user, f"The soup was {denial} {wish}, and") == complaint
        assert style.answer(user, f"On Monday the bath was {denial} {opposite}, and") == praise


def thing_of(text):
    """The thing that a note is about."""
    known = {thing for things in style.TASTES.values() for thing in things}
    (thing,) = set(re.findall(r"\w+", text)) & known
    return thing


def test_ood_notes_are_about_things_that_are_new_for_the_user(splits):
    seen = [set() for _ in range(100)]
    for split in ("train", "dev", "test"):
        for i, (text, _) in enumerate(splits[split]):
            seen[i % 100].add(thing_of(text))
    for i, (text, _) in enumerate(splits["ood"]):
        assert thing_of(text) not in seen[i % 100]


def quality_of(text):
    """The quality that the beginning of a note states."""
    denied = re.search(r"not|far from|anything but", text)
    word = text.split()[-2].rstrip(",")
    return style.opposites()[word] if denied else word


@pytest.mark.parametrize("split", ["test", "ood"])
def test_only_knowing_the_user_tells_the_continuation(splits, split):
    """The majority, the best answer without the user, and what the user wrote of the quality."""
    examples = [(text, answer) for text, (answer,) in splits[split]]
    answers = [answer for _, answer in examples]
    majority = Counter(answer for _, (answer,) in splits["train"]).most_common(1)[0][0]
    without_user = np.mean([style.most_common_answer(text) == answer for text, answer in examples])
    assert np.mean([majority == answer for answer in answers]) <= without_user < 0.3
    train = {
        (i % 100, quality_of(text)): answer for i, (text, (answer,)) in enumerate(splits["train"])
    }
    keys = [(i % 100, quality_of(text)) for i, (text, _) in enumerate(examples)]
    known = [train[key] == answer for key, answer in zip(keys, answers) if key in train]
    assert all(known) and len(known) > 0.7 * len(examples)
