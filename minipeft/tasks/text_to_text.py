"""Text to text, by an encoder–decoder: it reads one text and writes another."""

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import PLAIN
from ..data.batches import pad
from ..data.text_metrics import exact_match
from ..methods.template import IGNORED
from ..model.encoder_decoder import EncoderDecoder
from ..training.parallel import map_batches
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

    def loss(self, adaptation: Adaptation, split: str, size: int = 64) -> float:
        """Return the mean loss of the tokens of the first references of a split."""
        examples = self.examples_for(adaptation)[split]

        def losses(indices):
            ids, labels, mask, _ = self.collate([examples[i] for i in indices], adaptation)
            loss = self.network.loss(ids, labels, adaptation, mask=mask, count=1)
            return [float(loss) / len(indices)] * len(indices)

        total = sum(map_batches(losses, [ids for ids, *_ in examples], size))
        return total / sum(len(label) for _, label, _ in examples)

    def decode(self, ids, new):
        return self.tokenizer.decode(new)


class WriteLabel(TextToText):
    """Write the name of the class of a text.  Examples: (text, [name])."""

    metrics = {"accuracy": exact_match}
