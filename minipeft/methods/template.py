"""Templates: texts with fixed words, pseudo-tokens and a slot for the answer around them."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..adaptation.method import PSEUDO
from .segments import SLOT, encode, mask_id, plain, special_tokens

IGNORED = -100  # label of a token without a loss
PIECES = re.compile(r"(\[P\](?:\*\d+)?|\[P:[^][]+\]|\[MASK\]|\{\w+(?:\|\w+)*\})")
MISTYPED = re.compile(r"\[P[]*:]|[{}]|^ *\*")
FILTERS: dict[str, Callable[[str], str]] = {  # what may follow the name of a text, {x|lower}
    "lower": str.lower,
    "upper": str.upper,
    "capitalize": lambda text: text[:1].upper() + text[1:],
    "uncapitalize": lambda text: text[:1].lower() + text[1:],
    "unpunctuated": lambda text: re.sub(r"[\s.!?。!?]+$", "", text),
    "whole": str,  # never truncated
}


class Template:
    """Template("[P]*3 {x} All in all I [MASK] it.")        Liu et al. 2021c, §2.2

    {x} is a text; any name may be in the braces.  {x|lower} is the text in small letters; FILTERS
    has the names of such filters.  {x|whole} is never truncated.
    [MASK] is the slot of the answer.  It takes the space before it: of "I [MASK]", the answer is
    " liked".
    [P] is a pseudo-token and [P]*3 are three; they are numbered from the left.  [P:was] is one that
    starts from the word "was".
    Everything else is fixed words, with the spaces before them.

    shape: "prefix" for a slot at the end, "cloze" for one elsewhere, None without a slot.
    names: of the texts.  length: the number of pseudo-tokens.  words: {number of a pseudo-token:
    the word that it starts from}.  Raises ValueError for a malformed template.
    """

    def __init__(self, text: str):
        self.text, self.length, self.words = text, 0, {}
        self.pieces: list = []  # each a range of pseudo-tokens, a Text, SLOT, or fixed words
        for piece in filter(None, PIECES.split(text)):
            if not PIECES.fullmatch(piece):
                if MISTYPED.search(piece):
                    raise ValueError(
                        f"template={text!r}: write [P]*3 and {{x}}, not {piece.strip()!r}; braces "
                        "name a text, and [P] is a pseudo-token"
                    )
                self.pieces.append(piece)
            elif piece == "[MASK]":
                self.pieces.append(SLOT)
            elif piece.startswith("{"):
                self.pieces.append(Text(text, *piece[1:-1].split("|")))
            else:
                if piece.startswith("[P:"):
                    self.words[self.length] = piece[3:-1].strip()
                many = int(piece[4:] or 1) if piece.startswith("[P]") else 1
                self.pieces.append(range(self.length, self.length + many))
                self.length += many
        texts = [piece for piece in self.pieces if isinstance(piece, Text)]
        self.places = {piece.name: piece for piece in texts}
        self.names = [*self.places]
        if len(self.names) != len(texts) or not texts and SLOT not in self.pieces:
            raise ValueError(
                f"template={text!r} must have each text once, as {{x}}, for example "
                "'[P]*3 {x} [P]*3 [MASK] .'"
            )
        if self.pieces.count(SLOT) > 1:
            raise ValueError(f"template={text!r} has more than one [MASK]: write one")

    def __repr__(self):
        return f"Template({self.text!r})"

    @property
    def shape(self) -> str | None:
        if SLOT not in self.pieces:
            return None
        return "prefix" if self.pieces[-1] == SLOT else "cloze"

    @property
    def space(self) -> str:
        """The space before the slot, which the answer takes."""
        before = self.pieces[self.pieces.index(SLOT) - 1] if SLOT in self.pieces[1:] else ""
        return before[len(before.rstrip()) :] if isinstance(before, str) else ""

    def fill(self, tokenizer, V: int, **texts: list[int]) -> list[int]:
        """Return token ids, for the token ids of each text; pseudo-token i is PSEUDO - i, below 0.

        tokenizer: encodes the words of the template; its mask token is in the slot.  Spaces before
        {x} are dropped: "Review: {x}" is "Review:" and then the text.  V: the vocabulary size of
        the model.  Raises ValueError for names that are not in the template, and for ids of a text
        that are not from 0 to V - 1.
        """
        self.check_names(texts)
        for name, text in texts.items():
            if stray := [i for i in text if i is not None and not 0 <= i < V]:
                raise ValueError(
                    f"token id {stray[0]} in the text {name} is not in the vocabulary of {V}"
                )
        ids = []
        for piece in self.pieces:
            if isinstance(piece, range):
                ids += [PSEUDO - i for i in piece]
            elif isinstance(piece, Text):
                ids += texts[piece.name]
            elif piece == SLOT:
                ids.append(mask_id(tokenizer))
            elif piece.strip():
                ids += plain(tokenizer, piece.rstrip())
        return ids

    def check_names(self, texts: Mapping) -> None:
        """Raise ValueError unless there is a text for each place of the template, and no other."""
        if set(texts) != set(self.names):
            raise ValueError(
                f"template {self.text!r} takes {', '.join(self.names)}; got {', '.join(texts)}"
            )

    def named(self, text) -> dict[str, str]:
        """Return {name: text} of a text, a pair of texts for {text_a} and {text_b}, or a mapping.

        Raises ValueError if a text has no place, or a place no text.
        """
        if isinstance(text, str) and len(self.names) != 1:
            raise ValueError(
                f"template {self.text!r} takes {', '.join(self.names) or 'no text'}; got one text: "
                "give a pair for {text_a} and {text_b}, or {name: text}"
            )
        if isinstance(text, str):
            text = {self.names[0]: text}
        elif isinstance(text, tuple | list) and len(text) == 2:
            text = dict(zip(("text_a", "text_b"), text))
        if not isinstance(text, Mapping) or not all(isinstance(x, str) for x in text.values()):
            raise ValueError(f"a text must be a string, a pair or {{name: text}}; got {text!r:.80}")
        self.check_names(text)
        return dict(text)

    def segments(self, text, answer: str | None = None) -> list:
        """Return the filled template: strings, ranges of pseudo-tokens and, at most once, SLOT.

        text: see `named`.  answer: stands in the slot.
        """
        texts = self.named(text)
        filled = (p.process(texts[p.name]) if isinstance(p, Text) else p for p in self.pieces)
        return [answer if part == SLOT and answer is not None else part for part in filled]

    def encode(self, tokenizer, text, room: int | None = None, context: Sequence = ()) -> list[int]:
        """Return the token ids of the filled template, with SLOT at [MASK], and special tokens.

        text: see `named`.  context: segments that come first, such as instructions and examples.
        room: the number of ids, at most.  Then the longest text loses tokens at its end, one after
        the other, unless it is {x|whole}.  Raises ValueError if the fixed words alone take more.
        """
        texts = self.named(text)
        ids = encode(tokenizer, [*context, *self.segments(texts)])
        while room is not None and len(ids) > room:
            texts = self.shorten(tokenizer, texts, len(ids) - room)
            ids = encode(tokenizer, [*context, *self.segments(texts)])
        return ids

    def shorten(self, tokenizer, texts: dict[str, str], excess: int) -> dict[str, str]:
        """Return the texts without their last tokens, `excess` in all, the longest text first."""
        codes = {
            name: tokenizer.encode(texts[name], add_special_tokens=False)
            for name, place in self.places.items()
            if "whole" not in place.filters
        }
        kept = {name: len(code.ids) for name, code in codes.items()}
        if sum(kept.values()) == 0:
            raise ValueError(
                f"template {self.text!r} takes {excess} more tokens than there is room for, "
                "without any text: use a shorter template, or fewer examples"
            )
        for _ in range(min(excess, sum(kept.values()))):
            kept[max(kept, key=lambda name: kept[name])] -= 1
        ends = {name: codes[name].offsets[n - 1][1] if n else 0 for name, n in kept.items()}
        return texts | {name: texts[name][:end] for name, end in ends.items()}


class Text:
    """Place of a text in a template, {name|filter|…}."""

    def __init__(self, template: str, name: str, *filters: str):
        self.name, self.filters = name, filters
        if unknown := [f for f in filters if f not in FILTERS]:
            raise ValueError(
                f"template={template!r}: {unknown[0]!r} is none of the filters {', '.join(FILTERS)}"
            )

    def __str__(self):
        return "{" + "|".join((self.name, *self.filters)) + "}"

    def process(self, text: str) -> str:
        """Return the text after the filters."""
        for name in self.filters:
            text = FILTERS[name](text)
        return text


class Layout:
    """Template of one text, {x}, for a tokenizer and a model.

    layout(ids) returns the ids of the text inside the template.  layout(labels, filler) returns a
    list with one entry for each of them: the labels of the text, and `filler` at the template.
    The special tokens around a text stay first and last: of an encoder [CLS] and [SEP], of an
    encoder–decoder those that its tokenizer adds, such as T5's </s>.
    """

    def __init__(self, template, tokenizer, model):
        ids = Template(template).fill(tokenizer, model.config.vocabulary, x=[None])
        at = ids.index(None)
        self.front, self.back = ids[:at], ids[at + 1 :]
        self.first = self.last = int(not model.causal)  # number of special tokens
        if model.config.decoder_layers and len(ids) > 1:
            self.first, self.last = map(len, special_tokens(tokenizer))

    def __call__(self, row, filler=None):
        front, back = self.front, self.back
        if not front and not back:
            return row
        if filler is not None:
            front, back = [filler] * len(front), [filler] * len(back)
        row, n = list(row), self.first
        end = max(n, len(row) - self.last)
        return row[:n] + front + row[n:end] + back + row[end:]

    def language(self, rows):
        """Return ids and labels (N, T) of passages: each token is a label, except the first.

        rows: lists of token ids, all of one length.
        """
        labels = [self([IGNORED, *row[1:]], IGNORED) for row in rows]
        return np.array([self(row) for row in rows]), np.array(labels)
