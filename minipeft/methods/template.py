"""Templates: texts with fixed words and pseudo-tokens around them."""

import re

import numpy as np

from ..adaptation.method import PSEUDO

IGNORED = -100  # label of a token without a loss


class Template:
    """Template("[P]*3 {x} [P]*3 [MASK] .")        Liu et al. 2021a, §3

    [P] is a pseudo-token and [P]*3 are three; they are numbered from the left.  {x} is a text; any
    name may be in the braces.  Everything else is fixed words, with the spaces before them.  Spaces
    before {x} are dropped: "Review: {x}" is "Review:" and then the text.
    Raises ValueError for a malformed template.
    """

    def __init__(self, text):
        self.text, self.length, self.names = text, 0, []
        self.pieces = []  # each a range of pseudo-tokens, a tuple (name of a text,), or words
        for piece in re.split(r"(\[P\](?:\*\d+)?|\{\w+\})", text):
            if piece.startswith("[P]"):
                many = int(piece[4:] or 1)
                self.pieces.append(range(self.length, self.length + many))
                self.length += many
            elif re.fullmatch(r"\{\w+\}", piece):
                self.names.append(piece[1:-1])
                self.pieces.append((piece[1:-1],))
            elif re.search(r"\[P[\]*]|[{}]|^ *\*", piece):
                raise ValueError(f"template={text!r}: write [P]*3 and {{x}}, not {piece.strip()!r}")
            elif piece.strip():
                self.pieces.append(piece.rstrip())
        if not self.names or len(self.names) != len(set(self.names)):
            raise ValueError(
                f"template={text!r} must have each text once, as {{x}}, for example "
                "'[P]*3 {x} [P]*3 [MASK] .'"
            )

    def fill(self, tokenizer, V, **texts):
        """Return a list of token ids; pseudo-token i is PSEUDO - i, below 0.

        tokenizer: encodes the words of the template.  V: the vocabulary size of the model.
        texts: {name: list of ids}.  Raises ValueError for names that are not in the template, and
        for ids of a text that are not from 0 to V - 1.
        """
        if set(texts) != set(self.names):
            raise ValueError(
                f"template {self.text!r} takes {', '.join(self.names)}; got {', '.join(texts)}"
            )
        for name, text in texts.items():
            if stray := [i for i in text if i is not None and not 0 <= i < V]:
                raise ValueError(
                    f"token id {stray[0]} in the text {name} is not in the vocabulary of {V}"
                )
        ids = []
        for piece in self.pieces:
            if isinstance(piece, range):
                ids += [PSEUDO - i for i in piece]
            elif isinstance(piece, tuple):
                ids += texts[piece[0]]
            else:
                ids += tokenizer.encode(piece, add_special_tokens=False).ids
        return ids


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
            special = tokenizer.encode("x").special_tokens_mask
            self.first, self.last = special.index(0), special[::-1].index(0)

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
