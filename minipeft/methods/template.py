"""Templates: how a text is laid out among fixed words and pseudo-tokens."""

import re

import numpy as np

IGNORED = -100  # label of a token that no loss sees


class Template:
    """Template("[P]*3 {x} [P]*3 [MASK] .")        Liu et al. 2021a, §3

    [P] is a pseudo-token and [P]*3 are three; they are numbered from the left.  {x} is a text,
    under any name.  All else are fixed words, with the spaces before them.  The space before a text
    is not part of the template: "Review: {x}" is "Review:" and then the text.
    """

    def __init__(self, text):
        self.text, self.length, self.names = text, 0, []
        self.pieces = []  # range of pseudo-tokens | (name of a text,) | words
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
        """Return token ids, with texts (lists of ids) in their places; pseudo-token i is V + i.

        tokenizer: encodes the words of the template.  V: the vocabulary size of the model.
        """
        if set(texts) != set(self.names):
            raise ValueError(
                f"template {self.text!r} takes {', '.join(self.names)}; got {', '.join(texts)}"
            )
        ids = []
        for piece in self.pieces:
            if isinstance(piece, range):
                ids += [V + i for i in piece]
            elif isinstance(piece, tuple):
                ids += texts[piece[0]]
            else:
                ids += tokenizer.encode(piece, add_special_tokens=False).ids
        return ids


class Layout:
    """A template of one text, {x}, for a tokenizer and a model.

    layout(ids) returns the text inside the template; layout(labels, filler) does so for a list with
    one entry for each token, with fillers around it.  In the texts of an encoder the first and the
    last token, [CLS] and [SEP], stay first and last.
    """

    def __init__(self, template, tokenizer, model):
        ids = Template(template).fill(tokenizer, model.config.vocabulary, x=[None])
        self.special, at = int(not model.causal), ids.index(None)
        self.front, self.back = ids[:at], ids[at + 1 :]

    def __call__(self, row, filler=None):
        front, back = self.front, self.back
        if not front and not back:
            return row
        if filler is not None:
            front, back = [filler] * len(front), [filler] * len(back)
        row, n = list(row), self.special
        end = max(n, len(row) - n)
        return row[:n] + front + row[n:end] + back + row[end:]

    def language(self, rows):
        """Return ids and labels (N, T) of passages whose tokens but the first are predicted."""
        labels = [self([IGNORED, *row[1:]], IGNORED) for row in rows]
        return np.array([self(row) for row in rows]), np.array(labels)
