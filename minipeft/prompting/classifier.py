"""Classification by a language model: the words of each class compete for the slot of a template.

N texts   B texts in a batch   T tokens   W words   C classes   V vocabulary
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import as_adaptation
from ..autograd.backend import host
from ..autograd.functional import cross_entropy
from ..autograd.nn import replace
from ..autograd.ops import matmul
from ..autograd.tensor import Tensor
from ..data.batches import pad
from ..methods.segments import SLOT, continuation
from ..methods.template import Template
from ..model.heads import Head
from ..model.inputs import check_mask, check_targets, virtual_positions
from ..training.parallel import map_batches
from .slots import slot_of
from .verbalizer import Verbalizer, as_verbalizer


class PromptClassifier(Head):
    """p(y | x) of a language model that reads x in a template        Liu et al. 2021c, §2.2

    PromptClassifier(model, "{x} All in all I [MASK] it.", {"bad": "disliked", "good": "liked"})
    .predict(["The plot was thin."]) is ["bad"].  Nothing is trained; an adaptation of the model may
    be, by a Trainer with batches from `collate`.

    verbalizer: a Verbalizer, or the words of each class.  tokenizer: None: that of the model.
    examples: (text, class) pairs that are read before each text; see `with_examples`.

    A decoder scores each word and, with "product" and "normalized", what follows the slot, so a
    whole text: f_fill(x', z).  With "first" and "mean" it reads up to the slot only.  An encoder
    reads mask tokens in the slot, as many as a word has tokens.  The decoder of an encoder–decoder
    writes the word.
    """

    def __init__(
        self,
        model,
        template: str | Template,
        verbalizer: Mapping[Hashable, str | Sequence[str]] | Verbalizer,
        tokenizer=None,
    ):
        self.template = Template(template) if isinstance(template, str) else template
        if self.template.shape is None:
            raise ValueError(
                f"template={self.template.text!r} has no slot for the answer: write [MASK], as in "
                "'{x} All in all I [MASK] it.'"
            )
        vars(self).update(vars(model))
        self.tokenizer = tokenizer or model.tokenizer
        if self.tokenizer is None:
            raise ValueError("the model has no tokenizer: give PromptClassifier(…, tokenizer=…)")
        self.model, self.slot = model, slot_of(model, self.tokenizer, self.template.shape)
        self.verbalizer = as_verbalizer(verbalizer)
        encode = lambda word: continuation(self.tokenizer, self.template.space + word)
        self.words = [encode(word) for word in self.verbalizer.all_words]  # token ids
        self.check_words()
        self.examples: list = []  # segments of each, the first one is the oldest
        self.instruction = ""

    classes = property(lambda self: self.verbalizer.classes)
    outputs = property(lambda self: len(self.verbalizer.words))

    def check_words(self):
        """Raise ValueError for a word without tokens, and for two that are scored as one."""
        known, first = {}, self.verbalizer.tokens == "first"
        for word, ids in zip(self.verbalizer.all_words, self.words):
            if not ids:
                raise ValueError(f"the word {word!r} has no tokens")
            other = known.setdefault(ids[0] if first else tuple(ids), word)
            if other != word:
                hint = ": use tokens='product'" if first else ""
                raise ValueError(
                    f"the words {other!r} and {word!r} have the same "
                    f"{'first token' if first else 'tokens'}, and no score tells them apart{hint}"
                )

    def with_examples(
        self, examples: Iterable, instruction: str = "", separator: str = "\n\n"
    ) -> "PromptClassifier":
        """Return a copy that reads an instruction, and examples in context, before each text.

        examples: (text, class), the one next to the text last; a class stands as its first word.
        If there is too little room, the oldest examples are left out whole.
        Brown et al. 2020, §2
        """
        words, segments = self.verbalizer.words, []
        for text, label in examples:
            if label not in words:
                raise ValueError(
                    f"an example has the class {label!r}; the classes are {self.classes}"
                )
            segments.append([*self.template.segments(text, words[label][0]), separator])
        return replace(self, examples=segments, instruction=instruction and instruction + separator)

    # -- texts

    def room(self, adaptation: Adaptation | None = None) -> int:
        """Return how many ids a row may have, with the adaptation and the longest word."""
        taken = virtual_positions(self.model, as_adaptation(adaptation))
        return self.config.length - taken - max(map(len, self.words)) + 1

    def shots(self, text, room: int | None = None) -> int:
        """Return how many examples, the newest ones, are read before a text; see `encode`."""
        n = len(self.examples)
        while room is not None and n and len(self.encode_after(n, text)) > room:
            n -= 1
        return n

    def context(self, n: int) -> list:
        """Return the segments before a text: the instruction, and the n newest examples."""
        kept = self.examples[len(self.examples) - n :]
        return [self.instruction, *(part for example in kept for part in example)]

    def encode_after(self, n: int, text, room: int | None = None) -> list[int]:
        """Return the token ids of the n newest examples and a text; see `encode`."""
        return self.template.encode(self.tokenizer, text, room, self.context(n))

    def encode(self, text, room: int | None = None) -> list[int]:
        """Return the token ids of examples and a text in the template, with SLOT at the slot.

        text: a text, a pair for {text_a} and {text_b}, or {name: text}.
        room: the number of ids, at most: the oldest examples are left out until the text fits, and
        then its end.  Raises ValueError if the template alone does not fit.
        """
        return self.encode_after(self.shots(text, room), text, room)

    def render(self, text, room: int | None = None) -> str:
        """Return what is read, examples and a text in the template, with [MASK] at the slot."""
        parts = [*self.context(self.shots(text, room)), *self.template.segments(text)]
        tokens = lambda part: "[MASK]" if part == SLOT else "[P]" * len(part)
        return "".join(part if isinstance(part, str) else tokens(part) for part in parts)

    def numbers(self, labels: Iterable) -> np.ndarray:
        """Return the number of each class; raise ValueError for a label that is no class."""
        labels = list(labels)
        if unknown := [y for y in labels if y not in self.classes]:
            raise ValueError(
                f"the label {unknown[0]!r} is none of the classes "
                f"{', '.join(map(repr, self.classes))}"
            )
        return np.array([self.classes.index(y) for y in labels], int)

    def numbers_of_all(self, labels: Iterable) -> np.ndarray:
        """Return `numbers` of labels; raise ValueError for a class without a label, too."""
        numbers = self.numbers(labels)
        if lacking := [y for c, y in enumerate(self.classes) if c not in numbers]:
            raise ValueError(
                f"no example of the class {lacking[0]!r}: give at least one of each class"
            )
        return numbers

    def collate(self, texts: Sequence, labels: Sequence, room: int | None = None) -> tuple:
        """Return a batch (ids, labels, mask) of texts and their classes, for `loss`."""
        if len(texts) != len(labels):
            raise ValueError(f"{len(texts)} texts have {len(labels)} labels: give one for each")
        ids, mask = pad([self.encode(text, room) for text in texts])
        return ids, self.numbers(labels), mask

    # -- scores

    def scores(self, rows: list, adaptation: Adaptation, rng=None) -> Tensor:
        """Return the scores (B, W) of the words, for rows of token ids with SLOT."""
        if self.verbalizer.tokens in ("product", "normalized"):
            log_p = self.slot.log_p(rows, self.words, adaptation, rng)
            if self.verbalizer.tokens == "product":
                return log_p
            lengths = self.slot.lengths(rows, self.words)
            return log_p * np.asarray(1 / lengths, log_p.dtype, like=log_p.data)
        z = self.slot.logits(rows, adaptation, rng)
        return matmul(z, np.asarray(self.token_weights(z.shape[1]), z.dtype, like=z.data))

    def token_weights(self, V: int) -> np.ndarray:
        """Return A (V, W), so that z A are logits of the words: of first tokens, or means."""
        A = np.zeros((V, len(self.words)))
        for w, ids in enumerate(self.words):
            ids = ids[:1] if self.verbalizer.tokens == "first" else ids
            np.add.at(A[:, w], ids, 1 / len(ids))
        return A

    def __call__(self, ids, adaptation: Adaptation | None = None, *, mask=None, rng=None) -> Tensor:
        """Return log p(y | x), (B, C), for ids (B, T) with one SLOT in each row; see `states`."""
        ids = np.asarray(ids)
        if ids.ndim != 2 or ((ids == SLOT).sum(1) != 1).any():
            raise ValueError(
                f"each row of ids must have one slot, the id {SLOT}: use `encode` or `collate`"
            )
        rows = [row[real].tolist() for row, real in zip(ids, check_mask(mask, ids.shape))]
        return self.class_log_p(rows, as_adaptation(adaptation), rng)

    def class_log_p(self, rows: list, adaptation: Adaptation, rng=None) -> Tensor:
        """Return log p(y | x), (B, C), for rows of token ids with SLOT."""
        if self.template.length and not np.any(adaptation.pseudo_tokens(len(rows))):
            raise ValueError(
                f"the template {self.template.text!r} has pseudo-tokens: give the adaptation that "
                "has them, such as PseudoTokens(template).attach(model, rng)"
            )
        return self.verbalizer.class_log_p(self.scores(rows, adaptation, rng))

    def loss_at(
        self, ids, targets, /, adaptation=None, *, mask=None, token_types=None, rng=None, count=None
    ):
        """Return the mean of -log p(y | x), for classes (B,) that `targets` returned."""
        log_p = self(ids, adaptation, mask=mask, rng=rng)
        check_targets(targets, log_p.shape[:1])
        return cross_entropy(log_p, targets, count or len(targets))

    # -- predictions

    def log_probabilities(
        self,
        texts: Sequence,
        adaptation: Adaptation | None = None,
        size: int = 16,
        progress: Callable = iter,
    ) -> np.ndarray:
        """Return log p(y | x), (N, C), an array.  size, progress: see `map_batches`."""
        read = lambda rows, γ: self.class_log_p(rows, γ).data
        return self.read(texts, adaptation, read, len(self.classes), size, progress)

    def read(
        self,
        texts: Sequence,
        adaptation: Adaptation | None,
        f: Callable,
        width: int,
        size: int = 16,
        progress: Callable = iter,
    ) -> np.ndarray:
        """Return the rows (N, width) of f(rows of token ids, adaptation) for texts, in batches.

        Raises ValueError for a single text, and for a bank with another number of users.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be a list of texts; for a single text write [text]")
        adaptation = as_adaptation(adaptation)
        adaptation.check_batch(len(texts))
        room = self.room(adaptation)
        rows = [self.encode(text, room) for text in texts]
        of = lambda indices: f([rows[i] for i in indices], adaptation.of(np.array(indices)))
        found = map_batches(lambda indices: list(host(of(indices))), rows, size, progress)
        return np.array(found).reshape(len(texts), width)

    def predict(self, texts: Sequence, adaptation: Adaptation | None = None, **options) -> list:
        """Return the most likely class of each text; see `log_probabilities`."""
        return [
            self.classes[c] for c in self.log_probabilities(texts, adaptation, **options).argmax(1)
        ]
