"""How a text is laid out for a model: among words that are fixed, and pseudo-tokens."""

import re

import numpy as np

NONE = -100  # no label at this token


class Template:
    """Template("[P]*3 {x} [P]*3 [MASK] .")        Liu et al. 2021, §3

    [P] is a pseudo-token, [P]*3 are three, numbered from the left; {x} is a place for a text, of
    any name; the rest are words as they are, anchors, with the blanks in front of them.  A text
    brings a blank of its own where it wants one: "Review: {x}" is "Review:" and the text.
    """

    def __init__(self, text):
        self.text, self.length, self.names = text, 0, []
        self.pieces = []  # pseudo-tokens as a range, (the name of a text,), or words
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
                f"template={text!r} needs a place for each text, such as {{x}}, once: "
                "[P]*3 {x} [P]*3 [MASK] ."
            )

    def fill(self, tokenizer, V, **texts):
        """Token ids, with each text, a list of ids, in its place; pseudo-token i is V + i.

        tokenizer: for the words of the template; V: the vocabulary of the model.
        """
        if set(texts) != set(self.names):
            raise ValueError(f"{self.text!r} takes {', '.join(self.names)}; got {', '.join(texts)}")
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
    """layout(ids) is a text of token ids as an adaptation wants it, in the template around {x}.

    layout(labels, filler), of what belongs to each token, has fillers there.  Of a model that reads
    both ways the first and the last token, [CLS] and [SEP], stay where they are.
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
        """ids and labels (N, T) of passages, in which each word but the first is to be said."""
        labels = [self([NONE, *row[1:]], NONE) for row in rows]
        return np.array([self(row) for row in rows]), np.array(labels)
