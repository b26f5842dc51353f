"""Mined templates: the words that a corpus has between a text and the word of its class."""

import re
from collections import Counter
from collections.abc import Iterable

ENDS = ".!?"  # of a sentence


def middle_words(texts: Iterable[str], x: str, y: str, longest: int = 8) -> Counter:
    """Return how often each text stands between x and the next y of the same sentence

    In "Larkhaven is a town by the sea" it is "is a town by" for x = "Larkhaven", y = "the sea".
    longest: the number of words between x and y, at most.  Text with braces or brackets, which
    would be a part of a template, is left out.        Jiang et al. 2020, §3.1
    """
    between = rf"(?= +([^{ENDS}]*?) *{edge(y[0])}{re.escape(y)}{edge(y[-1])})"
    pattern = re.compile(edge(x[0]) + re.escape(x) + between)
    found = (match[1] for text in texts for match in pattern.finditer(text))
    words = (middle for middle in found if middle and not set("{}[]") & set(middle))
    return Counter(middle for middle in words if middle.count(" ") < longest)


def edge(character: str) -> str:
    """Return the pattern of the end of a word if it ends with this character."""
    return r"\b" if character.isalnum() else ""


def mine_templates(
    texts: Iterable[str], words: Iterable[str], most: int, x: str = "{x}", longest: int = 8
) -> list[str]:
    """Return the most frequent templates "{x} middle words [MASK]", `most` at most

    The middle words begin a sentence, and end before one of `words`; the text of the template takes
    the place of the sentence before.  x: that text in the template.        Jiang et al. 2020, §3.1
    """
    texts, found = list(texts), Counter()
    for word in words:
        for end in ENDS:
            found += middle_words(texts, end, word, longest)
    return [f"{x} {middle} [MASK]" for middle, _ in found.most_common(most)]
