"""Folders made to harm are refused by name; what has a fault is refused or computes."""

import random
import re
import warnings

import pytest

from minipeft.adaptation.patterns import matches
from tests.tools.hostile import FOLDERS, MORE, OTHERS, bounded, named, refused, survived, valid

SOME = [of for of in FOLDERS if " of " not in of or "of gpt2" in of or "lora" in of]  # of 58 ones
SOME = [of for of in SOME if of not in (*MORE, *OTHERS)]
SOME += ["qwen2", "gpt2 for texts", "ia3 of gpt2", "p-tuning in front of gpt2"]


@pytest.mark.parametrize("of", SOME)
def test_hostile_folders_are_refused_by_name(tmp_path, of):
    ready = valid(of, tmp_path / "valid")
    for name, *case in named(of, tmp_path / "valid"):
        try:
            refused(ready, *case)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from e


@pytest.mark.parametrize("of", FOLDERS)
def test_a_fault_is_refused_or_computes(tmp_path, of):
    ready = valid(of, tmp_path / "valid")
    for i in range(3):
        survived(of, ready, random.Random(f"test {i}"))


PIECES = r"a b . \. ( (?: ) | * + ? {1,2} {,2} {} ^ $ [ab] [^a] [a-z] [ ] \d \w \b \1 (?= (?! A"


def test_a_pattern_is_what_re_has():
    """Of random ones that `re` takes, the same is found; those it does not take are refused."""
    draw, both = random.Random(0), 0
    for _ in range(4000):
        pattern = "".join(draw.choices(PIECES.split(), k=draw.randint(1, 7)))
        for path in ("a", "ab", "A.b", "blocks.0.attn.q"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    want = re.search(pattern, path), re.fullmatch(pattern, path)
            except (re.error, FutureWarning):
                with pytest.raises(ValueError, match="targets=.* is no pattern"):
                    matches("targets", pattern, path)
            else:
                found = [matches("targets", pattern, path, whole) for whole in (False, True)]
                assert [*map(bool, want)] == [*map(bool, found)], (pattern, path)
                both += any(want)
    assert both > 1000


@pytest.mark.parametrize("pattern", ["(?:attn){e<=1}", "a{1<=s<=2}", "{x}"])
def test_what_regex_alone_has_is_no_pattern(pattern):
    with pytest.raises(ValueError, match=r"is no pattern: a \{ is for"):
        matches("targets", pattern, "atn")


def test_a_long_pattern_is_not_multiplied_out():
    with bounded(), pytest.raises(ValueError, match="more than 100,000 long"):
        matches("targets", "a{9999}" * 3 * 10**5, "a")
