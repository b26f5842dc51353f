"""Text to text, by an encoder–decoder: it reads one text and writes another."""

from ..adaptation.method import PLAIN
from ..data.batches import pad
from ..data.text_metrics import exact_match
from ..methods.template import IGNORED
from ..model.encoder_decoder import EncoderDecoder
from .base import Task
from .write import Write


def joined(text, names: tuple = ("first", "second")) -> str:
    """Return a text as it is, and a pair as one text        Raffel et al. 2020, §2.4

    >>> joined(("All cups are red.", "Some cup is."), ("premise", "hypothesis"))
    'premise: All cups are red. hypothesis: Some cup is.'
    """
    return text if isinstance(text, str) else " ".join(f"{n}: {t}" for n, t in zip(names, text))


class TextToText(Write):
    """Write a text for a text.  Examples: (text, [reference, ...])."""

    base_class, base_name = EncoderDecoder, "an encoder-decoder"

    def encode_label(self, encoding, references):
        ids = self.tokenizer.encode(references[0]).ids
        return ids if ids[-1:] and ids[-1] in self.ends else [*ids, self.ends[0]]

    def extra_positions(self, adaptation):
        return Task.extra_positions(self, adaptation)  # the decoder has positions of its own

    def collate(self, examples, adaptation=PLAIN):
        """Return a batch of texts, and of what the decoder has to write as labels."""
        layout, (texts, labels, _) = self.layout(adaptation), zip(*examples)
        ids, mask = pad([layout(row) for row in texts])
        return ids, pad(labels, IGNORED)[0], mask, None

    def decode(self, ids, new):
        return self.tokenizer.decode(new)


class WriteLabel(TextToText):
    """Write the name of the class of a text.  Examples: (text, [name])."""

    metrics = {"accuracy": exact_match}
