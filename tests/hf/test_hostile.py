"""Hostile folders are refused by name; folders with random faults are refused or compute."""

import random
import re
import warnings

import pytest

from minipeft.adaptation.patterns import matches
from tests.tools.hostile import (
    FOLDERS,
    MORE_MODELS,
    OTHER_ADAPTATIONS,
    check_fault,
    check_refused,
    hostile_cases,
    limits,
    save_valid,
)

SOME = [kind for kind in FOLDERS if " of " not in kind or "of gpt2" in kind or "lora" in kind]
SOME = [kind for kind in SOME if kind not in (*MORE_MODELS, *OTHER_ADAPTATIONS)]
SOME += ["qwen2", "gpt2 for texts", "ia3 of gpt2", "p-tuning in front of gpt2"]


@pytest.mark.parametrize("kind", SOME)
def test_hostile_folders_are_refused_by_name(tmp_path, kind):
    valid = save_valid(kind, tmp_path / "valid")
    for name, *case in hostile_cases(kind, tmp_path / "valid"):
        try:
            check_refused(valid, *case)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_random_fault_is_refused_or_computes(tmp_path, kind):
    valid = save_valid(kind, tmp_path / "valid")
    for i in range(3):
        check_fault(kind, valid, random.Random(f"test {i}"))


PIECES = r"a b . \. ( (?: ) | * + ? {1,2} {,2} {} ^ $ [ab] [^a] [a-z] [ ] \d \w \b \1 (?= (?! A"


def test_patterns_match_what_re_matches():
    """Of random patterns, those that `re` refuses are refused, and the others match the same."""
    rng, matched = random.Random(0), 0
    for _ in range(4000):
        pattern = "".join(rng.choices(PIECES.split(), k=rng.randint(1, 7)))
        for path in ("a", "ab", "A.b", "blocks.0.attn.q"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    expected = re.search(pattern, path), re.fullmatch(pattern, path)
            except (re.error, FutureWarning):
                with pytest.raises(ValueError, match="targets=.* is not a valid pattern"):
                    matches("targets", pattern, path)
            else:
                actual = [matches("targets", pattern, path, whole) for whole in (False, True)]
                assert actual == [*map(bool, expected)], (pattern, path)
                matched += any(expected)
    assert matched > 1000


@pytest.mark.parametrize("pattern", ["(?:attn){e<=1}", "a{1<=s<=2}", "{x}"])
def test_syntax_that_only_regex_has_is_refused(pattern):
    with pytest.raises(ValueError, match=r"is not a valid pattern: a \{ must begin"):
        matches("targets", pattern, "atn")


def test_a_long_pattern_is_refused_before_it_is_compiled():
    with limits(), pytest.raises(ValueError, match="longer than 100,000 characters"):
        matches("targets", "a{9999}" * 3 * 10**5, "a")
